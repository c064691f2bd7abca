"""From a Service to a pod's address, by EndpointSlices."""

from __future__ import annotations

import random
from collections.abc import Iterator

from streamops_sandbox.kube.api import Api
from streamops_sandbox.objects import Object

_SERVICE_LABEL = "kubernetes.io/service-name"


class EndpointError(Exception):
    """No address; the message is the API server's."""


def resolve_service(api: Api, namespace: str, name: str, port: int | str) -> tuple[str, int]:
    """A ready endpoint of a service's port (a number or a name); raises EndpointError."""
    stored = api.get("services", namespace, name)
    if stored is None:
        raise EndpointError(f'service "{name}" not found')
    service = stored.load()
    spec = service.get("spec") or {}
    entry = _port(spec, port)
    if entry is None:
        raise EndpointError(f'no service port {port} found for service "{name}"')
    found = list(_ready(api, namespace, name, entry.get("name", "")))
    if not found:
        raise EndpointError(f'no endpoints available for service "{name}"')
    return random.choice(found)  # noqa: S311 - spreads load


def _port(spec: Object, wanted: int | str) -> Object | None:
    ports: list[Object] = spec.get("ports") or []
    text = str(wanted)
    if not text:
        return ports[0] if len(ports) == 1 else None
    for entry in ports:
        if str(entry.get("port")) == text or entry.get("name") == text:
            return entry
    return None


def _ready(api: Api, namespace: str, name: str, port_name: str) -> Iterator[tuple[str, int]]:
    for stored in api.store.collection("endpointslices.discovery.k8s.io").items(namespace):
        if stored.labels.get(_SERVICE_LABEL) != name:
            continue
        item = stored.load()
        ports = [p["port"] for p in item.get("ports") or [] if p.get("name", "") == port_name]
        for endpoint in item.get("endpoints") or []:
            if ports and (endpoint.get("conditions") or {}).get("ready", True):
                for address in endpoint.get("addresses") or []:
                    yield address, ports[0]
