"""The sandbox's node agent with a network for its pods and with upstream's own programs."""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from executables import Executable, Executables
from name_server import NameServer, service_addresses
from pod_network import PodNetwork

from streamops_sandbox.client import Client
from streamops_sandbox.node import enter
from streamops_sandbox.node.agent import NodeAgent, NodeConfig
from streamops_sandbox.node.image_source import Runnable
from streamops_sandbox.node.isolation import Bind
from streamops_sandbox.node.launch import Launcher, Start
from streamops_sandbox.node.pod import Pod
from streamops_sandbox.node.runtime import ProcessContainer, Running

Object = dict[str, Any]

#: What an executable with a root of its own sees of this machine.
_HOST_FILES = ("/dev/null", "/dev/urandom", "/etc/hosts")
_HOST_FOLDERS = ("/etc/ssl", "/proc")


class LaneNode(NodeAgent):
    """Runs pods, each in a network namespace of its own, with a name server."""

    def __init__(
        self,
        client: Client,
        kubeconfig: Object,
        network: PodNetwork,
        config: NodeConfig,
        executables: Path,
    ) -> None:
        super().__init__(client, kubeconfig, network, config)
        self._pod_network = network
        self._name_server = NameServer(functools.partial(service_addresses, self.router))
        self._executables = Executables(config.folder / "images", executables)
        self.images = self._executables
        self.launcher = LaneLauncher(self.run_id, self.router, kubeconfig, config.authority.pem)

    async def run(self) -> None:
        """See NodeAgent."""
        await self._name_server.start(self._pod_network.dns_ip)
        try:
            await super().run()
        finally:
            self._name_server.stop()

    async def attach(self, pod: Pod) -> None:
        """Give a pod its address: a network namespace, unless this process runs its programs."""
        containers = pod.pod["spec"]["containers"]
        if all(self._executables.is_program(container["image"]) for container in containers):
            await self._pod_network.add(pod.ip)
        else:
            pod.network_namespace = await self._pod_network.join(pod.ip)
            search = f"{pod.namespace}.svc.cluster.local svc.cluster.local cluster.local"
            text = f"nameserver {self._pod_network.dns_ip}\nsearch {search}\noptions ndots:5\n"
            pod.folder.mkdir(parents=True, exist_ok=True)
            resolv_conf = pod.folder / "resolv.conf"
            resolv_conf.write_text(text, encoding="ascii")
            resolv_conf.chmod(0o644)  # for containers of any user
        await super().attach(pod)

    async def detach(self, pod: Pod) -> None:
        """Undo `attach`."""
        await super().detach(pod)
        await self._pod_network.leave(pod.ip)


class LaneLauncher(Launcher):
    """Starts containers in their pod's network namespace, and executables with their own root."""

    async def start(self, runnable: Runnable, start: Start) -> Running:
        """See Launcher."""
        if not isinstance(runnable, Executable):
            return await super().start(runnable, start)
        root, target = start.root, start.root / "ko-app" / runnable.file.name
        files = [(runnable.file, target)]
        files += [(Path(path), root / path.lstrip("/")) for path in _HOST_FILES]
        folders = [(Path(path), root / path.lstrip("/")) for path in _HOST_FOLDERS]
        # Volumes are links to where they are on this machine.
        own = start.pod.folder.absolute()
        folders.append((own, root / str(own).lstrip("/")))
        if start.pod.network_namespace is not None:
            files.append((own / "resolv.conf", root / "etc/resolv.conf"))
        for _, place in files:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        for _, place in folders:
            place.mkdir(parents=True, exist_ok=True)
        entering = [*_namespace(start.pod), sys.executable, "-I", "-S", enter.__file__]
        for source, place in [*files, *folders]:
            if source.exists():
                entering += ["--bind", str(source), str(place)]
        entering += ["--", shutil.which("chroot") or "/usr/sbin/chroot", str(root)]
        argv = [f"/ko-app/{runnable.file.name}", *(start.args or [])]
        env = {"PATH": "/usr/bin:/bin", "HOME": "/", **start.env}
        return await ProcessContainer.start(argv, env, root, start.log, entering)

    def entering(self, pod: Pod, binds: Sequence[Bind], view: Path) -> list[str]:
        """See Launcher."""
        if pod.network_namespace is None:
            return super().entering(pod, binds, view)
        names = (pod.folder.absolute() / "resolv.conf", Path("/etc/resolv.conf"))
        return [*_namespace(pod), *super().entering(pod, [*binds, names], view)]


def _namespace(pod: Pod) -> list[str]:
    """Return the command that starts another in a pod's network namespace."""
    if pod.network_namespace is None:
        return []
    return [shutil.which("nsenter") or "/usr/bin/nsenter", f"--net={pod.network_namespace}", "--"]
