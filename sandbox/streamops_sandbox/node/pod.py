"""One pod of this node: volumes, containers, status, end."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from streamops_sandbox.client import ApiError
from streamops_sandbox.node import status
from streamops_sandbox.node.container import Container
from streamops_sandbox.node.env import ConfigError, data_of
from streamops_sandbox.node.probes import Prober
from streamops_sandbox.node.volumes import Volumes
from streamops_sandbox.objects import Object
from streamops_sandbox.timestamps import now

if TYPE_CHECKING:
    from streamops_sandbox.node.agent import NodeAgent

logger = logging.getLogger(__name__)


_RETRY_SECONDS = 10.0


class Pod:
    """Runs a pod until it has ended and is deleted; `update` brings what others changed."""

    def __init__(self, node: NodeAgent, pod: Object) -> None:
        self.node = node
        self.pod = pod
        metadata = pod["metadata"]
        self.uid: str = metadata["uid"]
        self.name: str = metadata["name"]
        self.namespace: str = metadata["namespace"]
        self.ip = ""
        self.network_namespace: Path | None = None  # where the node gives it one
        self.extra_env: dict[str, str] = {}  # what the node's own services add
        self.folder = node.pods_folder / self.uid
        self.isolation = node.isolation
        self.account: str = pod["spec"].get("serviceAccountName") or "default"
        self.user = self.isolation.user(self.namespace, self.account)
        self.volumes = Volumes(self.folder / "volumes", self._lookup, self.request_token, self.user)
        self.containers = [
            Container(self, spec, self.folder / "containers" / spec["name"])
            for spec in copy.deepcopy(pod["spec"]["containers"])
        ]
        self._started = now()
        self._deletion = asyncio.Event()
        self._dirty = asyncio.Event()
        self._written: Object = {}
        self._mounted = asyncio.Event()

    # -- the node's side ---------------------------------------------------------------------

    def update(self, pod: Object) -> None:
        """Take over what has changed in the API server's object."""
        self.pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            grace = self._grace()
            if self._deletion.is_set():
                asyncio.get_running_loop().call_later(grace, self.kill)
            self._deletion.set()

    def kill(self) -> None:
        """End all containers at once: the pod is gone from the API server."""
        self._deletion.set()
        for container in self.containers:
            container.kill()

    async def run(self) -> None:
        """Run the pod until it is deleted; leaves no process and no file behind."""
        self.ip = self.node.network.allocate()
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(self._write_status())]
        try:
            # Before any container starts, which needs what the node attaches.
            await self.node.attach(self)
            tasks.append(asyncio.create_task(self._keep_volumes()))
            tasks.append(work := asyncio.create_task(self._work()))
            tasks.append(deletion := asyncio.create_task(self._deletion.wait()))
            self.changed()
            await asyncio.wait({work, deletion}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            await deletion
            await asyncio.gather(*(one.stop(self._grace()) for one in self.containers))
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        finally:
            for task in tasks:
                task.cancel()
            for container in self.containers:
                container.kill()
            await self.node.detach(self)
            self.node.network.release(self.ip)
            await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
        await self._confirm_deletion()

    # -- what containers ask for ----------------------------------------------

    def changed(self) -> None:
        """Have the status written soon."""
        self._dirty.set()

    def event(self, event_type: str, reason: str, message: str, container: Object) -> None:
        """Record an event about a container."""
        path = f"spec.containers{{{container['name']}}}"
        self.node.events.record(self.pod, event_type, reason, message, path)

    def pull_secrets(self) -> list[Object]:
        """Return the docker configurations of the pod's and its service account's secrets."""
        account = self._lookup("ServiceAccount", self.account) or {}
        references = [
            *(self.pod["spec"].get("imagePullSecrets") or []),
            *(account.get("imagePullSecrets") or []),
        ]
        secrets = (self._lookup("Secret", reference["name"]) for reference in references)
        return [
            json.loads(config)
            for secret in secrets
            if secret and (config := data_of(secret).get(".dockerconfigjson"))
        ]

    def prober(self, container: Object) -> Prober:
        """Return what checks the container's probes."""
        return Prober(self.node.session, self.ip, container.get("ports") or [])

    def container(self, name: str) -> Container | None:
        """Return a container by name."""
        return next((one for one in self.containers if one.name == name), None)

    # -- life ----------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Run the containers to their end."""
        await self._mounted.wait()
        await asyncio.gather(*(container.run() for container in self.containers))
        self.changed()

    async def _keep_volumes(self) -> None:
        while True:
            try:
                seconds = await self.volumes.update(self.pod)
                self._mounted.set()
            except (ConfigError, ApiError, aiohttp.ClientError, TimeoutError) as error:
                # What is mounted stays as it was, as with the kubelet.
                self.node.events.record(self.pod, "Warning", "FailedMount", str(error))
                seconds = _RETRY_SECONDS
            await self.node.configuration_changed(self.namespace, seconds or 3600.0)

    def _grace(self) -> float:
        metadata, spec = self.pod["metadata"], self.pod["spec"]
        seconds = metadata.get("deletionGracePeriodSeconds")
        if seconds is None:
            seconds = spec.get("terminationGracePeriodSeconds")
        return 30.0 if seconds is None else float(seconds)

    async def _confirm_deletion(self) -> None:
        for delay in (0.1, 0.5, 2.0, 5.0):
            try:
                await self._write_status_once()
                await self.node.client.delete(self.pod, grace_period=0)
                return
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                if _is_gone(error):
                    return
                logger.warning("pod %s/%s: %s", self.namespace, self.name, error)
            await asyncio.sleep(delay)

    # -- status --------------------------------------------------------------------------------

    def status(self) -> Object:
        """Return the pod's status as it is now."""
        phase = status.phase(self.pod, self.containers)
        node_ip = self.node.network.node_ip
        result: Object = {
            "phase": phase,
            "startTime": self._started,
            "hostIP": node_ip,
            "hostIPs": [{"ip": node_ip}],
            "podIP": self.ip,
            "podIPs": [{"ip": self.ip}],
            "conditions": status.conditions(
                self.pod, self.containers, phase=phase, network=bool(self.ip)
            ),
            "containerStatuses": [container.status() for container in self.containers],
        }
        if generation := self.pod["metadata"].get("generation"):
            result["observedGeneration"] = generation
        return result

    async def _write_status(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._write_status_once()
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                if not _is_gone(error):
                    logger.warning("status of %s/%s: %s", self.namespace, self.name, error)
                    asyncio.get_running_loop().call_later(1.0, self._dirty.set)

    async def _write_status_once(self) -> None:
        wanted = copy.deepcopy(self.status())
        if wanted == self._written:
            return
        body = {"metadata": {"uid": self.uid}, "status": wanted}
        self.pod = await self.node.client.patch(self.pod, body, subresource="status")
        self._written = wanted

    # -- small parts ---------------------------------------------------------------------------

    def _lookup(self, kind: str, name: str) -> Object | None:
        return self.node.lookup(self.namespace, kind, name)

    async def request_token(self, audience: str, seconds: int) -> Object:
        """Return a token of the pod's service account: a TokenRequest's status."""
        bound = {"apiVersion": "v1", "kind": "Pod", "name": self.name, "uid": self.uid}
        spec: Object = {"expirationSeconds": seconds, "boundObjectRef": bound}
        if audience:
            spec["audiences"] = [audience]
        metadata = {"name": self.account, "namespace": self.namespace}
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = await self.node.client.create_subresource(account, "token", body)
        token: Object = answer["status"]
        return token


def _is_gone(error: Exception) -> bool:
    """Whether the pod is gone, or another one has its name."""
    return isinstance(error, ApiError) and error.status in (404, 409)
