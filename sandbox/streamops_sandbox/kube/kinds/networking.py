"""Ingresses and network policies: kept, though nothing here routes by them or enforces them."""

from __future__ import annotations

from streamops_sandbox.kube import names
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import filler, function
from streamops_sandbox.objects import Object


@function
def ingress_rules(spec: Object | None, field: str, found: Causes, _: Object) -> None:
    """Check an Ingress's hosts, paths and backends."""
    spec = spec or {}
    if not spec.get("rules") and not spec.get("defaultBackend"):
        found.invalid(field, None, "either `defaultBackend` or `rules` must be specified")
    if spec.get("defaultBackend") is not None:
        _check_backend(spec["defaultBackend"], f"{field}.defaultBackend", found)
    for index, rule in enumerate(spec.get("rules") or []):
        place, host = f"{field}.rules[{index}]", rule.get("host", "")
        if host:
            found.problems(f"{place}.host", host, names.subdomain(host.removeprefix("*.")))
        if rule.get("http") is not None and not rule["http"].get("paths"):
            found.required(f"{place}.http.paths")
        for number, path in enumerate((rule.get("http") or {}).get("paths") or []):
            _check_path(path, f"{place}.http.paths[{number}]", found)


def _check_path(path: Object, field: str, found: Causes) -> None:
    kind, place = path.get("pathType"), path.get("path", "")
    if kind is None:
        found.required(f"{field}.pathType", "pathType must be specified")
    elif kind in ("Exact", "Prefix") and not place.startswith("/"):
        found.invalid(f"{field}.path", place, "must be an absolute path")
    found.one_of(path, "pathType", field, ("Exact", "ImplementationSpecific", "Prefix"))
    _check_backend(path.get("backend") or {}, f"{field}.backend", found)


def _check_backend(backend: Object, field: str, found: Causes) -> None:
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


@filler
def complete_policy(spec: Object) -> None:
    """Fill in a network policy's directions, which follow from its rules."""
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
