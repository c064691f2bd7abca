"""cmd/kourier of net-kourier: turns internal Ingresses into what its gateways serve.

In place of Envoy's discovery, each gateway is sent all routes whenever these change, as JSON: by
listener (`external`, `internal`) and host the `addresses` of a backend, and `headers` to add.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from streamops_sandbox import grpc
from streamops_sandbox.controller import Key, key_of
from streamops_sandbox.knative.conditions import Conditions
from streamops_sandbox.knative.kourier.gateway import ROUTES_PORT
from streamops_sandbox.knative.process import CONNECTION_ERRORS, Process
from streamops_sandbox.knative.reconciler import Reconciler
from streamops_sandbox.knative.serving import names
from streamops_sandbox.node.context import ContainerContext
from streamops_sandbox.objects import Object

_XDS_PORT = 18000
_SEND_SECONDS = 5.0
_AGAIN_SECONDS = 0.5
#: The queue's key for the gateways, which get routes even where there is no Ingress.
_GATEWAYS: Key = (None, "")


async def main(ctx: ContainerContext) -> int:
    """Run net-kourier's controller."""
    async with Process(ctx) as process, grpc.serving_health(ctx.pod_ip, _XDS_PORT):
        return await process.run(IngressReconciler(process).run())


class IngressReconciler(Reconciler):
    """Reconciles internal Ingresses of Kourier's class; Ready once all gateways serve them."""

    api_version = names.NETWORKING
    kind = "Ingress"
    dependents = ("NetworkConfigured", "LoadBalancerReady")
    workers = 1  # no older routes are sent after newer ones

    def __init__(self, process: Process) -> None:
        super().__init__(process.client)
        self._transport = process.transport
        self._namespace = process.ctx.env.get("KOURIER_GATEWAY_NAMESPACE") or "kourier-system"
        #: The routes that each gateway has, and whether all ready ones have the newest.
        self._sent: dict[str, Object] = {}
        self._served = False
        slices = process.client.informer("discovery.k8s.io/v1", "EndpointSlice")
        self._slices = self.watch(slices, self._of_slice)
        self.enqueue(*_GATEWAYS)

    def mine(self, obj: Object) -> bool:
        """Tell whether the Ingress is for Kourier."""
        annotations = obj["metadata"].get("annotations") or {}
        return bool(annotations.get(names.INGRESS_CLASS) == names.KOURIER)

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Send what has changed to the gateways, then reconcile the Ingress, if there is one."""
        await self._send()
        await super().reconcile(namespace, name)

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Note where the gateways are, once all of them serve the Ingress."""
        conditions.true("NetworkConfigured")
        if not self._served:
            message = "Waiting for load balancer to be ready"
            conditions.unknown("LoadBalancerReady", "Uninitialized", message)
            self.requeue_after(*key_of(obj), _AGAIN_SECONDS)
            return
        conditions.true("LoadBalancerReady")
        for field, service in (
            ("publicLoadBalancer", "kourier"),
            ("privateLoadBalancer", "kourier-internal"),
        ):
            host = f"{service}.{self._namespace}.svc.cluster.local"
            obj["status"][field] = {"ingress": [{"domainInternal": host}]}

    async def _send(self) -> None:
        """Send the routes to the gateways that do not have them, or are not ready: they may be new."""
        found = self._of_service(self._namespace, "kourier-internal")
        ready, routes = _addresses(found), self._routes()
        had, self._sent = self._sent, {}
        gateways = {
            endpoint["addresses"][0]: endpoint["targetRef"]["uid"]
            for part in found
            for endpoint in part.get("endpoints") or []
            if not (endpoint.get("conditions") or {}).get("terminating")
        }
        for pod, uid in gateways.items():
            if (pod in ready and had.get(pod) == routes) or await self._take(pod, uid, routes):
                self._sent[pod] = routes
        self._served = bool(ready) and self._sent.keys() >= {*ready}
        if len(self._sent) < len(gateways):
            self.requeue_after(*_GATEWAYS, _AGAIN_SECONDS)

    async def _take(self, pod: str, uid: str, routes: Object) -> bool:
        """Send a gateway the routes; tell whether it took them."""
        url, headers = f"http://{pod}:{ROUTES_PORT}/", {"Authorization": f"Bearer {uid}"}
        try:
            async with self._transport.request(
                "PUT", url, headers=headers, data=orjson.dumps(routes), timeout=_SEND_SECONDS
            ) as answer:
                return answer.status == 200
        except CONNECTION_ERRORS:
            return False

    def _routes(self) -> Object:
        found: Object = {"external": {}, "internal": {}}
        for obj in self.objects.list():
            if not self.mine(obj) or obj["metadata"].get("deletionTimestamp"):
                continue
            for rule in obj["spec"].get("rules") or []:
                addresses = self._addresses_of(*_backend(rule))
                route = {"addresses": addresses, "headers": _added_headers(rule)}
                for host in rule["hosts"]:
                    found["internal"][host] = route
                    if rule.get("visibility") != "ClusterLocal":
                        found["external"][host] = route
        return found

    def _of_service(self, namespace: str, service: str) -> list[Object]:
        """Return the EndpointSlices of a Service."""
        return [part for part in self._slices.list(namespace) if _service(part) == service]

    def _addresses_of(self, namespace: str, service: str) -> list[str]:
        return sorted(
            f"{address}:{port['port']}"
            for part in self._of_service(namespace, service)
            for port in part.get("ports") or []
            if port.get("name") == "http"
            for address in _addresses([part])
        )

    def _of_slice(self, part: Object) -> list[Key]:
        """Return the Ingresses to a Service; all of them where gateways come or go."""
        changed = (part["metadata"]["namespace"], _service(part))
        if changed[0] == self._namespace:
            return [_GATEWAYS, *map(key_of, self.objects.list())]
        return [
            key_of(obj)
            for obj in self.objects.list()
            if any(_backend(rule) == changed for rule in obj["spec"].get("rules") or [])
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
    """Return the addresses of endpoints that are ready."""
    return sorted(
        {
            address
            for part in slices
            for endpoint in part.get("endpoints") or []
            if (endpoint.get("conditions") or {}).get("ready") is not False
            for address in endpoint["addresses"]
        }
    )
