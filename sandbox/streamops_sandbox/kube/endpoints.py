"""From a Service to a pod's address, by EndpointSlices."""

from __future__ import annotations

import random
from collections.abc import Iterator

import aiohttp

from streamops_sandbox.kube.api import Api
from streamops_sandbox.objects import Object


class EndpointError(Exception):
    """No address; the message is the API server's."""


def resolve_service(api: Api, namespace: str, name: str, port: int | str) -> tuple[str, int]:
    """A ready endpoint of a service's port (a number or a name); raises EndpointError."""
    stored = api.get("services", namespace, name)
    if stored is None:
        raise EndpointError(f'service "{name}" not found')
    ports: list[Object] = stored.load()["spec"].get("ports") or []
    chosen = [one for one in ports if str(port) in (str(one["port"]), one.get("name"))]
    if not port and len(ports) == 1:
        chosen = ports
    if not chosen:
        raise EndpointError(f'no service port {port} found for service "{name}"')
    found = list(_ready(api, namespace, name, chosen[0].get("name", "")))
    if not found:
        raise EndpointError(f'no endpoints available for service "{name}"')
    return random.choice(found)  # noqa: S311 - spreads load


def _ready(api: Api, namespace: str, name: str, port_name: str) -> Iterator[tuple[str, int]]:
    for stored in api.store.collection("endpointslices.discovery.k8s.io").items(namespace):
        if stored.labels.get("kubernetes.io/service-name") != name:
            continue
        item = stored.load()
        ports = [p["port"] for p in item.get("ports") or [] if p.get("name", "") == port_name]
        for endpoint in item.get("endpoints") or []:
            if ports and (endpoint.get("conditions") or {}).get("ready", True):
                for address in endpoint.get("addresses") or []:
                    yield address, ports[0]


def dial_problem(error: aiohttp.ClientError) -> str:
    """Return why a connection failed or was closed, in Go's words."""
    if not isinstance(error, aiohttp.ClientConnectorError):
        return str(error) or "EOF"
    refused = isinstance(error.os_error, ConnectionRefusedError)
    why = "connection refused" if refused else error.os_error.strerror or str(error.os_error)
    return f"dial tcp {error.host}:{error.port}: connect: {why}"
