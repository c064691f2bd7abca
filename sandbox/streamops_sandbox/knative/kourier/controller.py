"""cmd/kourier of net-kourier: turns internal Ingresses into what its gateways serve.

The gateways are sent a stream of snapshots, each the whole state as JSON, in place of Envoy's
protobufs: `version`; `external` and `internal`, backends (`namespace/service`) by host; `backends`,
addresses (`ip:port`) by backend.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import orjson

from streamops_sandbox import grpc
from streamops_sandbox.controller import Key, key_of
from streamops_sandbox.knative.conditions import Conditions
from streamops_sandbox.knative.kourier.gateway import SNAPSHOTS
from streamops_sandbox.knative.process import CONNECTION_ERRORS, Process
from streamops_sandbox.knative.reconciler import Reconciler
from streamops_sandbox.knative.serving import names
from streamops_sandbox.node.context import ContainerContext
from streamops_sandbox.objects import Object

_XDS_PORT = 18000
_PROBE_PORT = 8090
_PROBE_SECONDS = 10.0
_AGAIN_SECONDS = 2.0


async def main(ctx: ContainerContext) -> int:
    """Run net-kourier's controller."""
    async with Process(ctx) as process:
        publisher = Publisher()
        reconciler = IngressReconciler(process, publisher)
        await process.listen_grpc(
            _XDS_PORT, {grpc.HEALTH_CHECK: grpc.health, SNAPSHOTS: publisher.stream}
        )
        return await process.run(reconciler.run())


class Publisher:
    """Sends every gateway the newest snapshot, and each later one."""

    def __init__(self) -> None:
        self.version = 0
        self._current: Object = {}
        self._changed = asyncio.Condition()

    async def publish(self, new: Object) -> None:
        """Make a snapshot the newest, unless nothing has changed."""
        if new != self._current:
            async with self._changed:
                self._current, self.version = new, self.version + 1
                self._changed.notify_all()

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
        super().__init__(process.client)
        self._process = process
        self._publisher = publisher
        self._gateways = process.ctx.env.get("KOURIER_GATEWAY_NAMESPACE") or "kourier-system"
        slices = process.client.informer("discovery.k8s.io/v1", "EndpointSlice")
        self._slices = self.watch(slices, self._of_slice)
        self.enqueue(None, "")  # gateways without any Ingress get a snapshot, too

    def mine(self, obj: Object) -> bool:
        """Tell whether the Ingress is for Kourier."""
        annotations = obj["metadata"].get("annotations") or {}
        return bool(annotations.get(names.INGRESS_CLASS) == names.KOURIER)

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Publish what has changed, then reconcile the Ingress, if there is one."""
        await self._publisher.publish(self._snapshot())
        await super().reconcile(namespace, name)

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Wait until every gateway serves the Ingress, then note where the gateways are."""
        conditions.true("NetworkConfigured")
        version = self._publisher.version
        gateways = _addresses(
            part
            for part in self._slices.list(self._gateways)
            if _service(part) == "kourier-internal"
        )
        answers = await asyncio.gather(*(self._serves(pod, version) for pod in gateways))
        if not gateways or not all(answers):
            message = "Waiting for load balancer to be ready"
            conditions.unknown("LoadBalancerReady", "Uninitialized", message)
            self.requeue_after(*key_of(obj), _AGAIN_SECONDS)
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

    def _snapshot(self) -> Object:
        found: Object = {"external": {}, "internal": {}, "backends": {}}
        for obj in self.objects.list():
            if not self.mine(obj) or obj["metadata"].get("deletionTimestamp"):
                continue
            for rule in obj["spec"].get("rules") or []:
                backend = _backend(rule)
                found["backends"]["/".join(backend)] = self._addresses_of(*backend)
                route = {"backend": "/".join(backend), "headers": _added_headers(rule)}
                for host in rule["hosts"]:
                    found["internal"][host] = route
                    if rule.get("visibility") != "ClusterLocal":
                        found["external"][host] = route
        return found

    def _addresses_of(self, namespace: str, service: str) -> list[str]:
        return sorted(
            f"{address}:{port['port']}"
            for part in self._slices.list(namespace)
            if _service(part) == service
            for port in part.get("ports") or []
            if port.get("name") == "http"
            for address in _addresses([part])
        )

    def _of_slice(self, part: Object) -> list[Key]:
        """Return the Ingresses to a Service; all of them where gateways come or go."""
        changed = (part["metadata"]["namespace"], _service(part))
        return [
            key_of(obj)
            for obj in self.objects.list()
            if changed[0] == self._gateways
            or any(_backend(rule) == changed for rule in obj["spec"].get("rules") or [])
        ]


def _backend(rule: Object) -> tuple[str, str]:
    """Return namespace and name of the Service a rule leads to: Services' Ingresses split nothing."""
    split = rule["http"]["paths"][0]["splits"][0]
    return split["serviceNamespace"], split["serviceName"]


def _added_headers(rule: Object) -> dict[str, str]:
    """Return what requests get on the way: Knative's own activator looks there for the revision."""
    path = rule["http"]["paths"][0]
    return {
        **(path.get("appendHeaders") or {}),
        **(path["splits"][0].get("appendHeaders") or {}),
    }


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
