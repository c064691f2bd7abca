"""Address of Kourier's gateway, and the domain of services."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._kubernetes.client import Client
from .._kubernetes.errors import KubeError
from .._kubernetes.polling import poll

Object = dict[str, Any]
HTTP_PORT = "http2"  # its name in Kourier's Service
INTERNAL = "svc.cluster.local"
KINDS = ("load_balancer", "node_port", "none")
POLL_SECONDS = 1.0
NO_ADDRESS = "the gateway has no address yet"


@dataclass(frozen=True)
class Gateway:
    """Address and HTTP port; empty and 0 where there is none (yet)."""

    address: str = ""
    port: int = 0

    @property
    def url_suffix(self) -> str:
        """What follows the host in a URL."""
        return "" if self.port in (0, 80) else f":{self.port}"


def find(client: Client, kind: str, address: str | None = None, port: int | None = None) -> Gateway:
    """Look the gateway up. `kind` is "load_balancer", "node_port" or "none"."""
    if kind == "none":
        return Gateway()
    service = client.get(client.resource("v1", "Service"), "kourier", "kourier-system")
    if service is None:
        return Gateway()
    ports: Object = next((p for p in service["spec"]["ports"] if p.get("name") == HTTP_PORT), {})
    if kind == "node_port":
        return Gateway(address or _node_address(client), port or ports.get("nodePort", 0))
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or [{}]
    given = ingress[0].get("ip") or ingress[0].get("hostname") or ""
    return Gateway(address or given, port or ports.get("port", 0))


def wait(
    client: Client,
    kind: str,
    address: str | None,
    port: int | None,
    *,
    timeout: float,
    progress: Callable[[str], None],
) -> Gateway:
    """Look the gateway up until it has an address; without a timeout (seconds), once.

    Raises KubeError when it gets no address in time.
    """
    found = Gateway()

    def look() -> str:
        nonlocal found
        found = find(client, kind, address, port)
        return "" if found.address or kind == "none" else NO_ADDRESS

    if not timeout:
        look()
        return found
    deadline = time.monotonic() + timeout
    missing = poll(client, look, deadline=deadline, pause=POLL_SECONDS, progress=progress)
    if missing == NO_ADDRESS:
        missing += (
            ": a cluster without a cloud's load balancer needs gateway: node_port, or a gateway_address"
            " of your own"
        )
    if missing:
        raise KubeError(f"After {timeout:g} s (wait_timeout) {missing}")
    return found


def _node_address(client: Client) -> str:
    addresses = {
        entry["type"]: entry["address"]
        for node in client.list(client.resource("v1", "Node"))
        for entry in (node.get("status") or {}).get("addresses") or []
    }
    return addresses.get("ExternalIP") or addresses.get("InternalIP") or ""


def default_domain(client: Client) -> str:
    """The domain of config-domain that is for all services; empty if there is none."""
    domains = client.get(client.resource("v1", "ConfigMap"), "config-domain", "knative-serving")
    data: dict[str, str] = (domains or {}).get("data") or {}
    general = [
        name for name, value in data.items() if name != "_example" and "selector" not in value
    ]
    public = [name for name in general if name != INTERNAL]
    return sorted(public)[0] if public else ""
