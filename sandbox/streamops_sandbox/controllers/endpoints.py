"""EndpointSlices of Services: which pods answer for them."""

from __future__ import annotations

import hashlib

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Controller, Key, key_of, owner_reference
from streamops_sandbox.controllers.workloads import has_ended, is_ready
from streamops_sandbox.label_selectors import matches_map
from streamops_sandbox.objects import Object

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
_SLICE = "discovery.k8s.io/v1"


class EndpointsController(Controller):
    """Keeps the EndpointSlices of Services with a selector."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._services = self.watch(client.informer("v1", "Service"))
        self._pods = self.watch(client.informer("v1", "Pod"), self._services_of)
        self._slices = self.watch(client.informer(_SLICE, "EndpointSlice"), _service_of)

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Reconcile a Service's endpoints."""
        service = self._services.get(name, namespace)
        if service is None or service["metadata"].get("deletionTimestamp"):
            for part in self._slices.list(namespace):
                labels = part["metadata"].get("labels") or {}
                if (labels.get(SERVICE_LABEL), labels.get(MANAGED_BY)) == (name, MANAGER):
                    await self.client.delete(part)
            return
        spec = service["spec"]
        if not spec.get("selector") or spec.get("type") == "ExternalName":
            return  # somebody else says where it leads
        pods = [
            pod
            for pod in self._pods.list(namespace)
            if matches_map(spec["selector"], pod["metadata"].get("labels"))
            and pod.get("status", {}).get("podIP")
            and not has_ended(pod)
        ]
        pods.sort(key=lambda pod: pod["metadata"]["name"])
        wanted = _slice(service, pods)
        known = self._slices.get(wanted["metadata"]["name"], namespace)
        if known is None:
            await self.client.create(wanted)
        elif any(known.get(key) != wanted[key] for key in ("endpoints", "ports")):
            await self.client.patch(known, {key: wanted[key] for key in ("endpoints", "ports")})

    def _services_of(self, pod: Object) -> list[Key]:
        # The labels a pod had before are not known here: any Service may have lost it.
        return [key_of(service) for service in self._services.list(pod["metadata"]["namespace"])]


def _service_of(part: Object) -> list[Key]:
    name = (part["metadata"].get("labels") or {}).get(SERVICE_LABEL)
    return [(part["metadata"]["namespace"], name)] if name else []


def _ports(service: Object, pods: list[Object]) -> list[Object]:
    """Return the ports of a Service as its pods have them; what they do not have is left out."""
    found = []
    for port in service["spec"].get("ports") or []:
        number = port.get("targetPort", port["port"])
        if isinstance(number, str):
            number = next(filter(None, (_container_port(pod, number) for pod in pods)), None)
        if number is not None:
            entry = {key: port.get(key) for key in ("name", "protocol", "appProtocol")}
            kept = {key: value for key, value in entry.items() if value}
            found.append({"name": "", "protocol": "TCP", "port": number} | kept)
    return found


def _container_port(pod: Object, name: str) -> int | None:
    ports = (port for one in pod["spec"]["containers"] for port in one.get("ports") or [])
    return next((port["containerPort"] for port in ports if port.get("name") == name), None)


def _slice(service: Object, pods: list[Object]) -> Object:
    metadata = service["metadata"]
    labels = (metadata.get("labels") or {}) | {
        SERVICE_LABEL: metadata["name"],
        MANAGED_BY: MANAGER,
    }
    if service["spec"].get("clusterIP") == "None":
        labels["service.kubernetes.io/headless"] = ""
    suffix = hashlib.sha256(metadata["uid"].encode()).hexdigest()[:5]
    return {
        "apiVersion": _SLICE,
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{metadata['name']}-{suffix}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference(service)],
        },
        "addressType": "IPv4",
        "endpoints": [_endpoint(service, pod) for pod in pods],
        "ports": _ports(service, pods),
    }


def _endpoint(service: Object, pod: Object) -> Object:
    metadata, spec, serving = pod["metadata"], pod["spec"], is_ready(pod)
    terminating = bool(metadata.get("deletionTimestamp"))
    always = bool(service["spec"].get("publishNotReadyAddresses"))
    endpoint: Object = {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": always or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "nodeName": spec["nodeName"],
        "targetRef": {
            "kind": "Pod",
            **{key: metadata[key] for key in ("name", "namespace", "uid")},
        },
    }
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        endpoint["hostname"] = spec["hostname"]
    return endpoint
