"""Ingresses, network policies and EndpointSlices."""

from __future__ import annotations

from typing import Any

from streamops_sandbox.kube import names
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.strategy import Strategy

Json = dict[str, Any]
_PROTOCOLS = ("SCTP", "TCP", "UDP")


class EndpointSlices(Strategy):
    """Addresses behind a Service."""

    tracks_generation = True

    def default(self, obj: Json) -> None:
        """Default the ports' name and protocol."""
        for port in obj.get("ports") or []:
            port.setdefault("name", "")
            port.setdefault("protocol", "TCP")

    def validate(self, obj: Json, found: Causes) -> None:
        """Check the address type and that each endpoint has an address."""
        if not obj.get("addressType"):
            found.required("addressType")
        found.one_of(obj, "addressType", "", ("FQDN", "IPv4", "IPv6"))
        for index, endpoint in enumerate(obj.get("endpoints") or []):
            if not endpoint.get("addresses"):
                text = "must contain at least 1 address"
                found.required(f"endpoints[{index}].addresses", text)
        for index, port in enumerate(obj.get("ports") or []):
            found.one_of(port, "protocol", f"ports[{index}]", _PROTOCOLS)

    def validate_update(self, obj: Json, old: Json, found: Causes) -> None:
        """Refuse another address type."""
        found.immutable(obj, old, "", "addressType")


class Ingresses(Strategy):
    """networking.k8s.io/v1 Ingresses: kept, though nothing here routes by them."""

    tracks_generation = True

    def validate(self, obj: Json, found: Causes) -> None:
        """Check hosts, paths and backends."""
        spec = obj.get("spec") or {}
        if not spec.get("rules") and not spec.get("defaultBackend"):
            text = "either `defaultBackend` or `rules` must be specified"
            found.invalid("spec", None, text)
        if spec.get("defaultBackend") is not None:
            _check_backend(spec["defaultBackend"], "spec.defaultBackend", found)
        for index, rule in enumerate(spec.get("rules") or []):
            field, host = f"spec.rules[{index}]", rule.get("host", "")
            if host:
                found.problems(f"{field}.host", host, names.subdomain(host.removeprefix("*.")))
            if rule.get("http") is not None and not rule["http"].get("paths"):
                found.required(f"{field}.http.paths")
            for number, path in enumerate((rule.get("http") or {}).get("paths") or []):
                _check_path(path, f"{field}.http.paths[{number}]", found)


def _check_path(path: Json, field: str, found: Causes) -> None:
    kind, place = path.get("pathType"), path.get("path", "")
    if kind is None:
        found.required(f"{field}.pathType", "pathType must be specified")
    elif kind in ("Exact", "Prefix") and not place.startswith("/"):
        found.invalid(f"{field}.path", place, "must be an absolute path")
    found.one_of(path, "pathType", field, ("Exact", "ImplementationSpecific", "Prefix"))
    _check_backend(path.get("backend") or {}, f"{field}.backend", found)


def _check_backend(backend: Json, field: str, found: Causes) -> None:
    service, resource = backend.get("service"), backend.get("resource")
    if bool(service) == bool(resource):
        text = (
            "cannot set both resource and service backends"
            if service
            else "one of resource or service backend must be specified"
        )
        found.required(field, text) if not service else found.invalid(field, "", text)
        return
    if not service:
        return
    if not service.get("name"):
        found.required(f"{field}.service.name")
    port = service.get("port") or {}
    if not port.get("name") and not port.get("number"):
        found.required(f"{field}.service.port", "port name or number is required")
    elif port.get("number"):
        found.between(f"{field}.service.port.number", port["number"], 1, 65535)


class IngressClasses(Strategy):
    """Names of Ingress controllers."""

    tracks_generation = True

    def validate(self, obj: Json, found: Causes) -> None:
        """Check the controller."""
        if not (obj.get("spec") or {}).get("controller"):
            found.required("spec.controller")


class NetworkPolicies(Strategy):
    """Kept, though nothing here enforces them."""

    tracks_generation = True

    def default(self, obj: Json) -> None:
        """Fill in the directions, which follow from the rules, and the ports' protocol."""
        spec = obj.setdefault("spec", {})
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
        for rule in [*(spec.get("ingress") or []), *(spec.get("egress") or [])]:
            for port in rule.get("ports") or []:
                port.setdefault("protocol", "TCP")

    def validate(self, obj: Json, found: Causes) -> None:
        """Check selectors, directions and protocols."""
        spec = obj["spec"]
        found.selector("spec.podSelector", spec.get("podSelector"))
        for direction in ("ingress", "egress"):
            for index, rule in enumerate(spec.get(direction) or []):
                for number, port in enumerate(rule.get("ports") or []):
                    field = f"spec.{direction}[{index}].ports[{number}]"
                    found.one_of(port, "protocol", field, _PROTOCOLS)
        for index, kind in enumerate(spec["policyTypes"]):
            if kind not in ("Ingress", "Egress"):
                found.unsupported(f"spec.policyTypes[{index}]", kind, ("Egress", "Ingress"))
