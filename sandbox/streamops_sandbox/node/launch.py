"""Starting a container's program with the environment a pod of this cluster gets."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamops_sandbox.node.context import ContainerContext
from streamops_sandbox.node.env import container_env, expand
from streamops_sandbox.node.image_source import Runnable
from streamops_sandbox.node.images import Image, ImageError, make_root, process
from streamops_sandbox.node.images.unpack import resolve
from streamops_sandbox.node.isolation import Bind, give, python
from streamops_sandbox.node.logs import ContainerLog
from streamops_sandbox.node.pod import Pod
from streamops_sandbox.node.routing import Router
from streamops_sandbox.node.runtime import MARK, ProcessContainer, ProgramContainer, Running
from streamops_sandbox.node.volumes import mount
from streamops_sandbox.objects import Object

#: Folders every container has for itself: for temporary files and its termination message.
_OWN_FOLDERS = ("/tmp", "/dev")  # noqa: S108 - below the container's root
ACCOUNT_FOLDER = "var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True)
class Start:
    """A container that is ready to be started; see `Launcher.launch`."""

    pod: Pod
    container: Object
    root: Path
    command: list[str] | None
    args: list[str] | None
    env: dict[str, str]
    log: ContainerLog


class Launcher:
    """Prepares a container's root folder and environment and starts it."""

    def __init__(self, run_id: str, router: Router, kubeconfig: Object, ca_pem: bytes) -> None:
        """`run_id` tells the containers of this node's run from others."""
        self._run_id = run_id
        self._router = router
        self._server: str = kubeconfig["clusters"][0]["cluster"]["server"]
        self._ca = base64.b64encode(ca_pem).decode()
        self.proxy_url = ""

    async def launch(
        self, pod: Pod, container: Object, runnable: Runnable, root: Path, log: ContainerLog
    ) -> Running:
        """Start a container's program.

        Raises ConfigError where the spec cannot be carried out (yet), ImageError or
        StartError where there is nothing to execute.
        """
        base = self._node_env(pod, container)
        # Status fields come from what the node knows, which the API server may not have yet.
        known = {**pod.pod, "status": {**pod.pod.get("status", {}), **pod.status()}}
        env = container_env(known, container, pod.volumes.lookup, base)
        command, args = _expanded(container, "command", env), _expanded(container, "args", env)
        if image := runnable.image:
            mounts = [entry["mountPath"] for entry in container.get("volumeMounts") or []]
            read_only = (container.get("securityContext") or {}).get("readOnlyRootFilesystem")
            await asyncio.to_thread(
                make_root, image, root, read_only=bool(read_only), mounts=[*mounts, *_OWN_FOLDERS]
            )
        mount(root, pod.volumes, container)
        for folder in _OWN_FOLDERS:
            (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        if not pod.isolation.view:
            places = [entry["mountPath"] for entry in container.get("volumeMounts") or []]
            env = {name: moved(value, places, root) for name, value in env.items()}
            command = command and [moved(part, places, root) for part in command]
            args = args and [moved(part, places, root) for part in args]
        start = Start(pod, container, root, command, args, env, log)
        return await self.start(runnable, start)

    async def start(self, runnable: Runnable, start: Start) -> Running:
        """Start what `launch` has prepared."""
        pod, container, root, log = start.pod, start.container, start.root, start.log
        if runnable.program is not None:
            return ProgramContainer(runnable.program, self._context(start), log)
        if (image := runnable.image) is None:
            raise ImageError("RunContainerError", "the image has neither program nor files")
        bytecode = image.rootfs.parents[1] / "bytecode" / str(pod.user or "")
        started = process(
            image,
            root,
            command=start.command,
            args=start.args,
            env=start.env,
            working_dir=container.get("workingDir"),
            bytecode=bytecode,
        )
        entering = await asyncio.to_thread(self._apart, pod, container, root, image, bytecode)
        return await ProcessContainer.start(started.argv, started.env, started.cwd, log, entering)

    def _apart(
        self, pod: Pod, container: Object, root: Path, image: Image, bytecode: Path
    ) -> list[str]:
        """Return the command that starts a program with the container's own view of the files."""
        bytecode.mkdir(parents=True, exist_ok=True)
        ending = container.get("terminationMessagePath") or "/dev/termination-log"
        note = resolve(root, ending)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()
        give(root, pod.user)
        if pod.user is not None:  # what is in it is a user's, who may be writing there
            os.chown(bytecode, pod.user, pod.user)
            bytecode.chmod(0o755)
        # Paths of the image are where they are on this machine; those of volumes are the spec's.
        own = [(path, path) for path in (root, image.rootfs, bytecode)]
        binds = [*python(), *own, (note, Path(ending)), (root / "tmp", Path("/tmp"))]  # noqa: S108
        for entry in container.get("volumeMounts") or []:
            place = resolve(root, entry["mountPath"], follow_last=False)
            source = Path(os.path.realpath(place))
            binds += [(source, source), (source, Path(entry["mountPath"]))]
        view = root.parent / "view"
        view.mkdir(exist_ok=True)
        return self.entering(pod, binds, view)

    def entering(self, pod: Pod, binds: Sequence[Bind], view: Path) -> list[str]:
        """Return the command that starts another with a view of its own, at the folder `view`."""
        return pod.isolation.command(binds, view, pod.user)

    def _node_env(self, pod: Pod, container: Object) -> dict[str, str]:
        host, _, port = self._server.partition("://")[2].rstrip("/").rpartition(":")
        return {
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
            "KUBERNETES_SERVICE_PORT_HTTPS": port,
            # Where pods have a network of their own, names lead to addresses without a proxy.
            **({} if pod.network_namespace else self._proxy_env(pod)),
            "HOSTNAME": pod.pod["spec"].get("hostname") or pod.name,
            # Without a network of its own the pod shares this machine's, and may bind its address only.
            **({} if pod.network_namespace else {"HOST": pod.ip}),
            MARK: f"{self._run_id}/{pod.uid}/{container['name']}",
            **pod.extra_env,
        }

    def _proxy_env(self, pod: Pod) -> dict[str, str]:
        # Not every client understands networks; the metadata server answers the pod itself only.
        metadata = pod.extra_env.get("GCE_METADATA_IP", "").partition(":")[0]
        no_proxy = "localhost,127.0.0.1,127.0.0.0/8" + (f",{metadata}" if metadata else "")
        names = {
            "http_proxy": self.proxy_url,
            "https_proxy": self.proxy_url,
            "no_proxy": no_proxy,
        }
        return names | {name.upper(): value for name, value in names.items()}

    def _context(self, start: Start) -> ContainerContext:
        pod, container = start.pod, start.container
        return ContainerContext(
            image=container["image"],
            name=container["name"],
            namespace=pod.namespace,
            pod=pod.name,
            pod_uid=pod.uid,
            pod_ip=pod.ip,
            env=start.env,
            args=[*(start.command or []), *(start.args or [])],
            kubeconfig=self._kubeconfig(start.root),
            log=start.log.write_text,
            resolve=self._router,
        )

    def _kubeconfig(self, root: Path) -> Object:
        """Return access as the pod's service account; anonymous where its token is not mounted."""
        token = root / ACCOUNT_FOLDER / "token"
        cluster = {"server": self._server, "certificate-authority-data": self._ca}
        user = {"tokenFile": str(token)} if token.exists() else {}
        return {"clusters": [{"cluster": cluster}], "users": [{"user": user}]}


def _expanded(container: Object, field: str, env: Mapping[str, str]) -> list[str] | None:
    parts = container.get(field)
    return None if parts is None else [expand(part, env) for part in parts]


def moved(text: str, places: Sequence[str], root: Path) -> str:
    """Rewrite each path of a `:`-separated list that names something mounted to where it is."""
    return ":".join(
        f"{root}{part}"
        if any(part == place or part.startswith(place.rstrip("/") + "/") for place in places)
        else part
        for part in text.split(":")
    )
