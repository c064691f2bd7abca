"""Where a name of the cluster leads: DNS and Service routing by Kubernetes' own objects.

Contract: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from streamops_sandbox.informer import Informer
from streamops_sandbox.objects import Object

Address = tuple[str, int]

_DOMAIN = "cluster.local"
_MAX_ALIASES = 8


class Router:
    """Resolves hosts of Services to ready endpoints; see `node.context.Resolver`."""

    def __init__(self, services: Informer, slices: Informer) -> None:
        self._services = services
        self._slices = slices
        self._by_service: dict[tuple[str, str], dict[str, Object]] = {}
        self._by_address: dict[str, tuple[str, str]] = {}
        self._turn: Iterator[int] = itertools.count()
        services.subscribe(self._on_service)
        slices.subscribe(self._on_slice)

    def __call__(self, host: str, port: int) -> Address | None:
        """Return where to connect to for `host:port`, or None where nothing answers there."""
        for _ in range(_MAX_ALIASES):
            found = self.service_of(host)
            if found is None:
                return None if is_cluster_name(host) else (host, port)
            service, hostname = found
            if service["spec"].get("type") != "ExternalName":
                return self._endpoint(service, port, hostname)
            host = service["spec"]["externalName"].rstrip(".")
        return None

    def endpoints(self, namespace: str, name: str) -> list[Object]:
        """Return the EndpointSlices of a Service."""
        return list(self._by_service.get((namespace, name), {}).values())

    def service_of(self, host: str) -> tuple[Object, str] | None:
        """Return the Service a host belongs to, and the pod's hostname before it."""
        if host in self._by_address:
            namespace, name = self._by_address[host]
            service = self._services.get(name, namespace)
            return (service, "") if service else None
        host = host.rstrip(".").lower()
        parts = host.removesuffix(f".{_DOMAIN}").removesuffix(".svc").split(".")
        # NAME.NS, or HOSTNAME.NAME.NS for one pod of a headless Service
        if len(parts) not in (2, 3):
            return None
        service = self._services.get(parts[-2], parts[-1])
        return (service, parts[0] if len(parts) == 3 else "") if service else None

    def _endpoint(self, service: Object, port: int, hostname: str) -> Address | None:
        spec, metadata = service["spec"], service["metadata"]
        slices = self.endpoints(metadata["namespace"], metadata["name"])
        headless = spec.get("clusterIP") == "None"
        wanted = next((entry for entry in spec.get("ports") or [] if entry["port"] == port), None)
        if wanted is None and not headless:
            return None
        name = (wanted or {}).get("name") or ""
        not_ready = bool(spec.get("publishNotReadyAddresses"))
        found: list[Address] = []
        for part in slices:
            ports = {
                entry.get("name") or "": entry.get("port") for entry in part.get("ports") or []
            }
            # DNS gives a headless Service's pods' addresses; the port stays as asked for.
            number = port if headless else ports.get(name)
            if number is None:
                continue
            for endpoint in part.get("endpoints") or []:
                ready = (endpoint.get("conditions") or {}).get("ready") is not False
                named = not hostname or endpoint.get("hostname") == hostname
                if (ready or not_ready) and named:
                    found += [(address, number) for address in endpoint["addresses"]]
        return found[next(self._turn) % len(found)] if found else None

    def _on_service(self, event_type: str, service: Object) -> None:
        metadata = service["metadata"]
        key = (metadata["namespace"], metadata["name"])
        for address in [ip for ip, owner in self._by_address.items() if owner == key]:
            del self._by_address[address]
        if event_type != "DELETED":
            for address in service["spec"].get("clusterIPs") or []:
                if address != "None":
                    self._by_address[address] = key

    def _on_slice(self, event_type: str, part: Object) -> None:
        metadata = part["metadata"]
        service = (metadata.get("labels") or {}).get("kubernetes.io/service-name")
        if not service:
            return
        known = self._by_service.setdefault((metadata["namespace"], service), {})
        if event_type == "DELETED":
            known.pop(metadata["name"], None)
        else:
            known[metadata["name"]] = part


def is_cluster_name(host: str) -> bool:
    """Return whether a name is one of the cluster's own domain."""
    host = host.rstrip(".").lower()
    return host.endswith((f".svc.{_DOMAIN}", ".svc"))
