"""Ingresses and network policies: kept, though nothing here routes by them or enforces them."""

from __future__ import annotations

import ipaddress
import re

from streamops_sandbox.kube import names
from streamops_sandbox.kube.kinds import declared
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
            host_name(host, f"{place}.host", found, {})
        if rule.get("http") is not None and not rule["http"].get("paths"):
            found.required(f"{place}.http.paths")
        for number, path in enumerate((rule.get("http") or {}).get("paths") or []):
            _check_path(path, f"{place}.http.paths[{number}]", found)


@function
def host_name(host: str, field: str, found: Causes, _: Object) -> None:
    """Check a host's name, of which the first part may be any."""
    if re.fullmatch(r"[\d.]+", host):
        found.invalid(field, host, "must be a DNS name, not an IP address")
    found.problems(field, host, names.subdomain(host.removeprefix("*.")))


def _check_path(path: Object, field: str, found: Causes) -> None:
    kind, place = path.get("pathType"), path.get("path", "")
    if kind is None:
        found.required(f"{field}.pathType", "pathType must be specified")
        return
    if (kind in ("Exact", "Prefix") or place) and not place.startswith("/"):
        found.invalid(f"{field}.path", place, "must be an absolute path")
    for part in ("//", "/./", "/../", "%2f", "%2F") if kind in ("Exact", "Prefix") else ():
        if part in place:
            found.invalid(f"{field}.path", place, f"must not contain '{part}'")
    found.one_of(path, "pathType", field, ("Exact", "ImplementationSpecific", "Prefix"))
    _check_backend(path.get("backend") or {}, f"{field}.backend", found)


def _check_backend(backend: Object, field: str, found: Causes) -> None:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        found.invalid(field, "", "cannot set both resource and service backends")
        return
    if service is None and resource is None:
        found.invalid(field, "", "resource or service backend is required")
    if service is None:
        return
    found.name(f"{field}.service.name", service.get("name", ""), label=True)
    port = service.get("port") or {}
    if port.get("name") and port.get("number"):
        found.invalid(field, "", "cannot set both port name & port number")
    elif port.get("number"):
        found.between(f"{field}.service.port.number", port["number"], 1, 65535)
    elif port.get("name"):
        found.problems(f"{field}.service.port.name", port["name"], names.port_name(port["name"]))
    else:
        found.required(field, "port name or number is required")


@function
def policy_port(item: Object, field: str, found: Causes, _: Object) -> None:
    """Check a port of a network policy."""
    found.one_of(item, "protocol", field, ("TCP", "UDP", "SCTP"))
    port, end = item.get("port"), item.get("endPort")
    if isinstance(port, int):
        found.between(f"{field}.port", port, 1, 65535)
        if end is not None and end < port:
            found.invalid(f"{field}.endPort", port, "must be greater than or equal to `port`")
    elif end is not None:
        why = "non-numeric" if port else "not specified"
        found.invalid(f"{field}.endPort", end, f"may not be specified when `port` is {why}")
    if isinstance(port, str):
        found.problems(f"{field}.port", port, names.port_name(port))


@function
def policy_peer(peer: Object, field: str, found: Causes, _: Object) -> None:
    """Check whom a network policy lets in or out."""
    for key in ("podSelector", "namespaceSelector"):
        found.selector(f"{field}.{key}", peer.get(key))
    block = peer.get("ipBlock")
    if block is not None:
        whole, place = block.get("cidr", ""), f"{field}.ipBlock"
        problems = names.network(whole)
        found.problems(f"{place}.cidr", whole, problems)
        for index, part in enumerate(block.get("except") or []):
            if problems or names.network(part):
                found.problems(f"{place}.except[{index}]", part, names.network(part))
            elif not _inside(part, whole):
                why = "must be a strict subset of `cidr`"
                found.invalid(f"{place}.except[{index}]", part, why)
        if len(peer) > 1:
            found.forbidden(field, "may not specify both ipBlock and another peer")
    elif not peer:
        found.required(field, "must specify a peer")


def _inside(part: str, whole: str) -> bool:
    small, large = (ipaddress.ip_network(item, strict=False) for item in (part, whole))
    return small != large and int(small[0]) >= int(large[0]) and int(small[-1]) <= int(large[-1])


@function
def subset(subset: Object, field: str, found: Causes, _: Object) -> None:
    """Check a part of an Endpoints object."""
    addresses = [
        (f"{field}.{key}[{index}].ip", item.get("ip", ""))
        for key in ("addresses", "notReadyAddresses")
        for index, item in enumerate(subset.get(key) or [])
    ]
    if not addresses:
        found.required(field, "must specify `addresses` or `notReadyAddresses`")
    for place, address in addresses:
        before = len(found)
        declared.ip(address, place, found)
        if len(found) > before:
            found.invalid(place, address, "must be a valid IP address")
        if address.startswith("169.254."):
            why = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
            found.invalid(place, address, why)
    ports = subset.get("ports") or []
    for index, port in enumerate(ports):
        place = f"{field}.ports[{index}]"
        if len(ports) > 1 and not port.get("name"):
            found.required(f"{place}.name")
        found.between(f"{place}.port", port.get("port", 0), 1, 65535)


@filler
def complete_policy(spec: Object) -> None:
    """Fill in a network policy's directions, which follow from its rules."""
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
