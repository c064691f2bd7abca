"""Address of the gateway by which people reach services, and the domain of services."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._kubernetes.client import Client
from .._kubernetes.errors import KubeError
from .._kubernetes.polling import poll
from . import ingress_gateways
from .ingress_gateways import CONFIG_MAPS, EXTERNAL, Config, IngressGateway, Reference
from .releases import INGRESSES, PROJECTS

Object = dict[str, Any]
HTTP_PORT = "http2"  # its name in Kourier's Service and in Istio's
_KOURIER: Reference = (PROJECTS["kourier"].namespace, "kourier")
_SERVING = PROJECTS["serving"].namespace
INTERNAL = "svc.cluster.local"
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


def installed_ingress(client: Client) -> str:
    """Return the component by which Serving routes services; empty where none of ours is set."""
    network = client.get(client.resource("v1", "ConfigMap"), "config-network", _SERVING) or {}
    data = network.get("data") or {}
    # The second is the key of older releases, which is still read.
    return INGRESSES.get(data.get("ingress-class") or data.get("ingress.class") or "", "")


def find(
    client: Client,
    kind: str,
    address: str | None = None,
    port: int | None = None,
    *,
    ingress: str = "kourier",
    config: Config | None = None,
) -> Gateway:
    """Look the gateway of an ingress up. `kind` is "load_balancer", "node_port" or "none".

    `config` is what is going to be set of ConfigMaps, as in the module `knative`.
    """
    if kind == "none" or not ingress:
        return Gateway()
    entry = _external(client, ingress, config or {})
    service = _get(client, "v1", "Service", entry.service)
    if service is None and kind == "load_balancer":
        return _of_gateway(client, entry.gateway, address, port)
    ports: Object = _http(((service or {}).get("spec") or {}).get("ports") or [])
    if kind == "node_port":
        if service is None:
            return Gateway()
        return Gateway(address or _node_address(client), port or ports.get("nodePort", 0))
    ingresses = (((service or {}).get("status") or {}).get("loadBalancer") or {}).get("ingress")
    given = (ingresses or [{}])[0]
    found = given.get("ip") or given.get("hostname") or ""
    if not found and entry.gateway:
        return _of_gateway(client, entry.gateway, address, port)
    return Gateway(address or found, port or ports.get("port", 0))


def _external(client: Client, ingress: str, config: Config) -> IngressGateway:
    """Return the gateway for requests from outside; an empty one where there is none."""
    if ingress not in CONFIG_MAPS:
        return IngressGateway(_KOURIER)
    data = ingress_gateways.configuration(client, ingress, config)
    entries = ingress_gateways.read(ingress, EXTERNAL, data)
    return entries[0] if entries else IngressGateway(None)


def _http(ports: list[Object]) -> Object:
    """Return the port for HTTP among those of a Service or the listeners of a Gateway."""

    def rank(port: Object) -> tuple[bool, bool, bool]:
        name = port.get("name")
        return (
            name == HTTP_PORT,
            port.get("protocol") == "HTTP",
            name == "http" or port.get("port") == 80,
        )

    best: Object = max(ports, key=rank, default={})
    return best if any(rank(best)) else {}


def _of_gateway(
    client: Client, reference: Reference | None, address: str | None, port: int | None
) -> Gateway:
    """Return what the status of a Gateway of the Gateway API says."""
    gateway = _get(client, ingress_gateways.API_VERSION, "Gateway", reference)
    if gateway is None:
        return Gateway()
    addresses = (gateway.get("status") or {}).get("addresses") or [{}]
    listener = _http(gateway["spec"].get("listeners") or [])
    return Gateway(address or addresses[0].get("value", ""), port or listener.get("port", 0))


def _get(client: Client, api_version: str, kind: str, reference: Reference | None) -> Object | None:
    if reference is None:
        return None
    return client.get(client.resource(api_version, kind), reference[1], reference[0])


def wait(
    client: Client,
    kind: str,
    address: str | None,
    port: int | None,
    *,
    ingress: str | None = None,
    config: Config | None = None,
    timeout: float,
    progress: Callable[[str], None],
) -> Gateway:
    """Look the gateway up until it has an address; without a timeout (seconds), once.

    Without an `ingress` it is the gateway of the one by which Serving routes.
    Raises KubeError when it gets no address in time.
    """
    found = Gateway()

    def look() -> str:
        nonlocal found
        routes = installed_ingress(client) if ingress is None else ingress
        found = find(client, kind, address, port, ingress=routes, config=config)
        return "" if found.address or kind == "none" or not routes else NO_ADDRESS

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
    """Return the domain of config-domain that is for all services; empty if there is none."""
    domains = client.get(client.resource("v1", "ConfigMap"), "config-domain", "knative-serving")
    data: dict[str, str] = (domains or {}).get("data") or {}
    general = [
        name for name, value in data.items() if name != "_example" and "selector" not in value
    ]
    public = [name for name in general if name != INTERNAL]
    return sorted(public)[0] if public else ""
