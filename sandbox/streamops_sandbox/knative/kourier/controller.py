"""cmd/kourier of net-kourier: turns internal Ingresses into what its gateways serve.

The gateways are told by a stream of snapshots, each the whole state as JSON, in place of Envoy's
protobufs: `version`; `external` and `internal`, paths by host; `backends`, addresses (`ip:port`) by
`namespace/service`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import orjson

from streamops_sandbox import grpc
from streamops_sandbox.client import Client
from streamops_sandbox.controller import Object
from streamops_sandbox.knative.conditions import Conditions
from streamops_sandbox.knative.kourier.gateway import SNAPSHOTS
from streamops_sandbox.knative.process import CONNECTION_ERRORS, Process
from streamops_sandbox.knative.reconciler import Reconciler
from streamops_sandbox.knative.serving import names
from streamops_sandbox.node.context import ContainerContext

_XDS_PORT = 18000
_PROBE_PORT = 8090
_PROBE_SECONDS = 10.0
_SETTLE_SECONDS = 0.02
_SLICES = "discovery.k8s.io/v1"


async def main(ctx: ContainerContext) -> int:
    """Run net-kourier's controller."""
    async with Process(ctx) as process:
        publisher = Publisher()
        reconciler = IngressReconciler(process, publisher)
        await process.listen_grpc(
            _XDS_PORT, {grpc.HEALTH_CHECK: grpc.health, SNAPSHOTS: publisher.stream}
        )
        return await process.run(reconciler.run(), reconciler.publish())


class Publisher:
    """Hands every gateway the newest snapshot, and each later one."""

    def __init__(self) -> None:
        self.version = 0
        self._current: Object = {}
        self._changed = asyncio.Condition()

    async def publish(self, new: Object) -> int:
        """Make a snapshot the newest, unless it says nothing new; return the newest's version."""
        if new != self._current:
            async with self._changed:
                self._current, self.version = new, self.version + 1
                self._changed.notify_all()
        return self.version

    async def stream(self, _request: bytes) -> AsyncIterator[bytes]:
        """Yield snapshots from now on (the gRPC method gateways call)."""
        sent = 0
        while True:
            async with self._changed:
                while self.version == sent:
                    await self._changed.wait()
                sent = self.version
                message = orjson.dumps({"version": sent, **self._current})
            yield message


class IngressReconciler(Reconciler):
    """Reconciles internal Ingresses of Kourier's class; Ready once all gateways serve them."""

    api_version = names.NETWORKING
    kind = "Ingress"
    dependents = ("NetworkConfigured", "LoadBalancerReady")

    def __init__(self, process: Process, publisher: Publisher) -> None:
        client: Client = process.client
        super().__init__(client)
        self._process = process
        self._publisher = publisher
        self._gateways = process.ctx.env.get("KOURIER_GATEWAY_NAMESPACE") or "kourier-system"
        self._dirty = asyncio.Event()
        self._built: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._slices = client.informer(_SLICES, "EndpointSlice")
        self.watch(self._slices, self._slice_changed)
        self.objects.subscribe(lambda *_: self._dirty.set())

    def mine(self, obj: Object) -> bool:
        """Tell whether the Ingress is for Kourier."""
        annotations = obj["metadata"].get("annotations") or {}
        return bool(annotations.get(names.INGRESS_CLASS) == names.KOURIER)

    async def publish(self) -> None:
        """Build a new snapshot after changes, many at a time, until cancelled."""
        await asyncio.gather(self.objects.synced(), self._slices.synced())
        while True:
            self._dirty.clear()
            # Who waits for this future has its Ingress in the informer by now.
            done, self._built = self._built, asyncio.get_running_loop().create_future()
            done.set_result(await self._publisher.publish(self._snapshot()))
            await self._dirty.wait()
            await asyncio.sleep(_SETTLE_SECONDS)

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Wait until every gateway serves the Ingress, then say where the gateways are."""
        conditions.true("NetworkConfigured")
        built = self._built
        self._dirty.set()
        version = await built
        gateways = self._gateway_pods()
        answers = await asyncio.gather(*(self._serves(pod, version) for pod in gateways))
        if not gateways or not all(answers):
            conditions.unknown(
                "LoadBalancerReady", "Uninitialized", "Waiting for load balancer to be ready"
            )
            self.requeue_after(obj["metadata"]["namespace"], obj["metadata"]["name"], 2.0)
            return
        conditions.true("LoadBalancerReady")
        for field, service in (
            ("publicLoadBalancer", "kourier"),
            ("privateLoadBalancer", "kourier-internal"),
        ):
            host = f"{service}.{self._gateways}.svc.cluster.local"
            obj["status"][field] = {"ingress": [{"domainInternal": host}]}

    async def _serves(self, pod: str, version: int) -> bool:
        """Wait until a gateway has got a snapshot; its probe listener answers then."""
        url = f"http://{pod}:{_PROBE_PORT}/ready?version={version}"
        try:
            async with self._process.transport.request(
                "GET", url, timeout=_PROBE_SECONDS
            ) as answer:
                return answer.status == 200
        except CONNECTION_ERRORS:
            return False

    def _gateway_pods(self) -> list[str]:
        return _addresses(
            part
            for part in self._slices.list(self._gateways)
            if _service(part) == "kourier-internal"
        )

    def _snapshot(self) -> Object:
        external: dict[str, list[Object]] = {}
        internal: dict[str, list[Object]] = {}
        backends: dict[str, list[str]] = {}
        for obj in self.objects.list():
            if not self.mine(obj) or obj["metadata"].get("deletionTimestamp"):
                continue
            for rule in obj["spec"].get("rules") or []:
                paths = [_path(item) for item in rule["http"]["paths"]]
                for host in rule["hosts"]:
                    internal[host] = paths
                    if rule.get("visibility") != "ClusterLocal":
                        external[host] = paths
                for split in (split for path in paths for split in path["splits"]):
                    backends[split["backend"]] = self._backend(split["backend"])
        return {"external": external, "internal": internal, "backends": backends}

    def _backend(self, backend: str) -> list[str]:
        namespace, _, name = backend.partition("/")
        return sorted(
            f"{address}:{port['port']}"
            for part in self._slices.list(namespace)
            if _service(part) == name
            for port in part.get("ports") or []
            if port.get("name") == "http"
            for address in _addresses([part])
        )

    def _slice_changed(self, part: Object) -> list[tuple[str, str]]:
        self._dirty.set()
        if part["metadata"]["namespace"] == self._gateways:
            return [
                (o["metadata"]["namespace"], o["metadata"]["name"]) for o in self.objects.list()
            ]
        return []


def _path(item: Object) -> Object:
    added = item.get("appendHeaders") or {}
    splits = [
        {
            "backend": f"{split['serviceNamespace']}/{split['serviceName']}",
            "percent": split.get("percent", 100),
            "headers": {**added, **(split.get("appendHeaders") or {})},
        }
        for split in item["splits"]
    ]
    return {"prefix": item.get("path") or "/", "splits": splits}


def _service(part: Object) -> str:
    name: str = (part["metadata"].get("labels") or {}).get("kubernetes.io/service-name", "")
    return name


def _addresses(slices: Iterable[Object]) -> list[str]:
    return sorted(
        {
            address
            for part in slices
            for endpoint in part.get("endpoints") or []
            if (endpoint.get("conditions") or {}).get("ready") is not False
            for address in endpoint["addresses"]
        }
    )
