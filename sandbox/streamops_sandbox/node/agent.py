"""The node agent: registers this machine as a node and runs the pods bound to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.controllers.workloads import has_ended
from streamops_sandbox.events import EventRecorder
from streamops_sandbox.kube.tls import Authority
from streamops_sandbox.node import reaper
from streamops_sandbox.node.fields import node_capacity
from streamops_sandbox.node.image_source import ImageSource
from streamops_sandbox.node.isolation import Isolation
from streamops_sandbox.node.launch import Launcher
from streamops_sandbox.node.metadata import GoogleProject, MetadataServer
from streamops_sandbox.node.network import Network
from streamops_sandbox.node.pod import Pod
from streamops_sandbox.node.proxy import ForwardProxy
from streamops_sandbox.node.routing import Router
from streamops_sandbox.node.runtime import MARK
from streamops_sandbox.node.server import KubeletServer
from streamops_sandbox.node.service_proxy import ServiceProxy
from streamops_sandbox.objects import Object
from streamops_sandbox.oci import architecture
from streamops_sandbox.timestamps import now

logger = logging.getLogger(__name__)


GOOGLE_ACCOUNT = "iam.gke.io/gcp-service-account"
_LEASE_SECONDS = 40
_HEARTBEAT_SECONDS = 10.0


@dataclass(frozen=True)
class NodeConfig:
    """How a node is set up.

    `folder` holds what pods have on disk, `google` is the cluster's place on Google, if it has one.
    """

    folder: Path
    authority: Authority
    name: str = "sandbox"
    google: GoogleProject | None = None


class NodeAgent:
    """Runs the pods that are bound to this node."""

    def __init__(
        self, client: Client, kubeconfig: Object, network: Network, config: NodeConfig
    ) -> None:
        self.client = client
        self.network = network
        self.name = config.name
        self.pods_folder = config.folder / "pods"
        self.events = EventRecorder(client, "kubelet", config.name)
        shared = os.environ.get("SANDBOX_LAYERS")
        self.images = ImageSource(config.folder / "images", Path(shared) if shared else None)
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        self.isolation = Isolation(network.number)
        self.run_id = uuid.uuid4().hex
        self.registered = asyncio.Event()
        self._config = config
        self._pods: dict[str, Pod] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._informers = {
            kind: client.informer("v1", kind)
            for kind in ("Pod", "ConfigMap", "Secret", "Service", "ServiceAccount")
        }
        self._informers["EndpointSlice"] = client.informer("discovery.k8s.io/v1", "EndpointSlice")
        self.router = Router(self._informers["Service"], self._informers["EndpointSlice"])
        self._service_proxy = ServiceProxy(
            self._informers["Service"], self.router, network.is_service
        )
        self._proxy = ForwardProxy(self.router)
        self._server = KubeletServer(self.name, self.pod, config.authority)
        self.launcher = Launcher(self.run_id, self.router, kubeconfig, config.authority.pem)
        self._metadata: dict[str, MetadataServer] = {}
        self._configuration_waiters: dict[str, asyncio.Event] = {}

    async def run(self) -> None:
        """Register the node and run its pods until cancelled; then end them all."""
        self.pods_folder.mkdir(parents=True, exist_ok=True)
        self.isolation = await Isolation.detect(self.network.number, self.pods_folder)
        logger.info("containers: %s", self.isolation)
        guard = await self._start_reaper()
        for informer in self._informers.values():
            await informer.start()
        await asyncio.gather(*(informer.synced() for informer in self._informers.values()))
        for kind in ("ConfigMap", "Secret"):
            self._informers[kind].subscribe(self._on_configuration)
        try:
            self.launcher.proxy_url = await self._proxy.start(self.network.node_ip)
            port = await self._server.start(self.network.node_ip)
            await self._register(port)
            self.registered.set()
            self._informers["Pod"].subscribe(self._on_pod)
            async with asyncio.TaskGroup() as group:
                group.create_task(self.events.run())
                group.create_task(self._service_proxy.run())
                group.create_task(self._heartbeat())
        finally:
            tasks = list(self._running.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._proxy.stop()
            await self._server.stop()
            await self.session.close()
            if guard.stdin is not None:
                guard.stdin.close()
            await guard.wait()

    # -- what pods ask for -----------------------------------------------------------------------

    def lookup(self, namespace: str, kind: str, name: str) -> Object | None:
        """Return a ConfigMap or Secret."""
        return self._informers[kind].get(name, namespace)

    def pod(self, namespace: str, name: str) -> Pod | None:
        """Return a pod of this node."""
        pods = (
            one for one in self._pods.values() if (one.namespace, one.name) == (namespace, name)
        )
        return next(pods, None)

    async def configuration_changed(self, namespace: str, seconds: float) -> None:
        """Wait until a ConfigMap or Secret of the namespace changes, at most so long."""
        event = self._configuration_waiters.setdefault(namespace, asyncio.Event())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), seconds)

    async def attach(self, pod: Pod) -> None:
        """Start what a pod gets from the node beside its containers: its metadata server."""
        if self._config.google is None:
            return
        accounts = self._informers["ServiceAccount"]
        account = accounts.get(pod.account, pod.namespace) or {"metadata": {}}
        annotations = account["metadata"].get("annotations") or {}
        # A network namespace is reached by its pod alone; else the user tells pods and people apart.
        user = None if pod.network_namespace else pod.user
        google_account = annotations.get(GOOGLE_ACCOUNT, "")
        server = MetadataServer(
            self._config.google, self.session, pod.request_token, google_account, user
        )
        address = await server.start(self.network.metadata_ip(pod.ip))
        self._metadata[pod.uid] = server
        for variable in ("GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT"):
            pod.extra_env[variable] = address

    async def detach(self, pod: Pod) -> None:
        """Stop what `attach` started."""
        if server := self._metadata.pop(pod.uid, None):
            await server.stop()

    # -- pods ------------------------------------------------------------------------------------

    def _on_pod(self, event_type: str, obj: Object) -> None:
        uid = obj["metadata"]["uid"]
        pod = self._pods.get(uid)
        if event_type == "DELETED":
            if pod is not None:
                pod.kill()
        elif pod is not None:
            pod.update(obj)
        elif obj["spec"].get("nodeName") == self.name and (
            not has_ended(obj) or obj["metadata"].get("deletionTimestamp")
        ):
            pod = self._pods[uid] = Pod(self, obj)
            task = asyncio.create_task(pod.run(), name=f"pod {pod.namespace}/{pod.name}")
            self._running[uid] = task
            task.add_done_callback(lambda done: self._pod_done(uid, done))
            pod.update(obj)

    def _pod_done(self, uid: str, task: asyncio.Task[None]) -> None:
        pod = self._pods.pop(uid)
        self._running.pop(uid)
        if not task.cancelled() and (error := task.exception()):
            logger.error("pod %s/%s", pod.namespace, pod.name, exc_info=error)

    def _on_configuration(self, _: str, obj: Object) -> None:
        if event := self._configuration_waiters.pop(obj["metadata"]["namespace"], None):
            event.set()

    async def _start_reaper(self) -> asyncio.subprocess.Process:
        """Start what ends our containers' processes should this process be killed."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S", reaper.__file__, MARK, self.run_id),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            start_new_session=True,
        )

    # -- the Node object -------------------------------------------------------------------------

    async def _register(self, port: int) -> None:
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": self.name,
                "labels": {
                    "kubernetes.io/hostname": self.name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": architecture(),
                },
            },
            "spec": {"podCIDR": self.network.pod_cidr, "podCIDRs": [self.network.pod_cidr]},
        }
        created = await self.client.create(node)
        version = await self.client.request("GET", "/version")
        status = self._status(port, version["gitVersion"])
        await self.client.patch(created, {"status": status}, subresource="status")
        self.events.record(
            created, "Normal", "NodeReady", f"Node {self.name} status is now: NodeReady"
        )

    def _status(self, port: int, release: str) -> Object:
        capacity = node_capacity()
        when = now()

        return {
            "capacity": capacity,
            "allocatable": capacity,
            "addresses": [
                {"type": "InternalIP", "address": self.network.node_ip},
                {"type": "Hostname", "address": self.name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "KubeletReady",
                    "message": "kubelet is posting ready status",
                    "lastHeartbeatTime": when,
                    "lastTransitionTime": when,
                }
            ],
            "nodeInfo": {
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
                "kernelVersion": platform.release(),
                "osImage": f"sandbox on {platform.system()}",
                "containerRuntimeVersion": "sandbox://1.0",
                "kubeletVersion": release,
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": architecture(),
            },
        }

    async def _heartbeat(self) -> None:
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name, "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": self.name, "leaseDurationSeconds": _LEASE_SECONDS},
        }
        while True:
            lease["spec"] |= {"renewTime": f"{now()[:-1]}.000000Z"}  # type: ignore[operator] # a dict
            try:
                await self.client.apply(lease, field_manager="kubelet")
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                logger.debug("lease: %s", error)
            await asyncio.sleep(_HEARTBEAT_SECONDS)
