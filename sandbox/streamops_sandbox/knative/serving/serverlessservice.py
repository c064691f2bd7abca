"""ServerlessService: a Revision's public Service leads to its pods."""

from __future__ import annotations

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Object, owner_reference
from streamops_sandbox.knative.conditions import Conditions
from streamops_sandbox.knative.reconciler import Reconciler, ensure
from streamops_sandbox.knative.serving import names

_SLICES = "discovery.k8s.io/v1"


class ServerlessServiceReconciler(Reconciler):
    """Reconciles ServerlessServices; the activator is never in the path."""

    api_version = names.NETWORKING
    kind = "ServerlessService"
    dependents = ("EndpointsPopulated",)

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._services = self.watch_owned(
            client.informer("v1", "Service", label_selector=names.SKS), self.kind
        )
        self._slices = client.informer(_SLICES, "EndpointSlice")
        self.watch(self._slices, self._keys)

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Keep both Services and the public one's endpoints."""
        name, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
        private_name = f"{name}-private"
        await self._service(obj, private_name, "Private")
        await self._service(obj, name, "Public")
        obj["status"]["serviceName"] = name
        obj["status"]["privateServiceName"] = private_name
        pods = ready_endpoints(self._slices.list(namespace), private_name)
        desired = _slice(obj, pods)
        await ensure(self.client, self._slices.get(name, namespace), desired, replace=["endpoints"])
        if pods:
            conditions.true("EndpointsPopulated")
        else:
            conditions.unknown(
                "EndpointsPopulated", "NoHealthyBackends", "K8s Service is not ready"
            )
        conditions.false(
            "ActivatorEndpointsPopulated", "PodsPopulated", "Revision is backed by pods"
        )

    async def _service(self, obj: Object, name: str, service_type: str) -> None:
        metadata = obj["metadata"]
        spec: Object = {"ports": _ports(private=service_type == "Private")}
        if service_type == "Private":
            uid = (metadata.get("labels") or {}).get(names.REVISION_UID, "")
            spec["selector"] = {names.REVISION_UID: uid}
        desired = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "labels": {
                    **(metadata.get("labels") or {}),
                    names.SKS: metadata["name"],
                    names.SERVICE_TYPE: service_type,
                },
                "ownerReferences": [owner_reference(obj)],
            },
            "spec": spec,
        }
        current = self._services.get(name, metadata["namespace"])
        if current is None:
            await self.client.create(desired)

    def _keys(self, part: Object) -> list[tuple[str, str]]:
        metadata = part["metadata"]
        service = (metadata.get("labels") or {}).get("kubernetes.io/service-name", "")
        return [(metadata["namespace"], service.removesuffix("-private"))]


def ready_endpoints(slices: list[Object], service: str) -> list[str]:
    """Return the addresses of a Service's ready endpoints, sorted."""
    found = set()
    for part in slices:
        if (part["metadata"].get("labels") or {}).get("kubernetes.io/service-name") != service:
            continue
        for endpoint in part.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                found.update(endpoint["addresses"])
    return sorted(found)


def _ports(*, private: bool) -> list[Object]:
    ports = [_port("http", 80, names.QUEUE_PORT)]
    if private:
        ports += [
            _port("http-autometric", 9090, names.QUEUE_METRICS_PORT),
            _port("http-queueadm", names.QUEUE_ADMIN_PORT, names.QUEUE_ADMIN_PORT),
        ]
    return ports


def _port(name: str, port: int, target: int) -> Object:
    return {"name": name, "port": port, "targetPort": target, "protocol": "TCP"}


def _slice(obj: Object, addresses: list[str]) -> Object:
    metadata = obj["metadata"]
    return {
        "apiVersion": _SLICES,
        "kind": "EndpointSlice",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": {
                "kubernetes.io/service-name": metadata["name"],
                "endpointslice.kubernetes.io/managed-by": "serverlessservice.knative.dev",
                names.SKS: metadata["name"],
            },
            "ownerReferences": [owner_reference(obj)],
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": names.QUEUE_PORT, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": [address], "conditions": {"ready": True}} for address in addresses
        ],
    }
