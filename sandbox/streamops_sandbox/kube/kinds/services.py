"""Services: their defaults, cluster IPs and node ports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamops_sandbox.kube import errors, names
from streamops_sandbox.kube.allocation import Allocator
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import filler, function
from streamops_sandbox.kube.kinds.strategy import Strategy

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

Json = dict[str, Any]
_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")


class Services(Strategy):
    """A stable address for pods."""

    def __init__(self, rules: Json | None = None, *, network: str) -> None:
        super().__init__(rules)
        self._network = network

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Give it its addresses."""
        obj["status"] = {"loadBalancer": {}}
        found = Causes()
        self.validate(obj, found)
        if not found:  # otherwise it is refused, for all that is wrong
            self._allocate(obj, {}, Allocator(api, self._network))

    def prepare_update(self, obj: Json, old: Json, api: Api) -> None:
        """Keep what it has; give or take what its type needs."""
        spec, before = obj["spec"], old.get("spec") or {}
        if spec["type"] != "ExternalName" and before.get("type") != "ExternalName":
            for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                if key not in spec and key in before:
                    spec[key] = before[key]
        if before.get("healthCheckNodePort"):
            spec.setdefault("healthCheckNodePort", before["healthCheckNodePort"])
        had = {_identity(port): port.get("nodePort") for port in before.get("ports") or []}
        if spec["type"] in _WITH_NODE_PORTS:
            for port in spec.get("ports") or []:
                if not port.get("nodePort") and had.get(_identity(port)):
                    port["nodePort"] = had[_identity(port)]
        else:
            kept = {number for number in had.values() if number}
            for port in spec.get("ports") or []:
                if port.get("nodePort") in kept:
                    del port["nodePort"]
        self._allocate(obj, before, Allocator(api, self._network))

    def _allocate(self, obj: Json, before: Json, allocator: Allocator) -> None:
        spec = obj["spec"]
        self._allocate_address(obj, spec, before, allocator)
        if spec["type"] not in _WITH_NODE_PORTS:
            return
        if spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
            return
        local = spec["type"] == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
        if local and not spec.get("healthCheckNodePort"):
            spec["healthCheckNodePort"] = allocator.port(set())
        own = {port["nodePort"] for port in before.get("ports") or [] if port.get("nodePort")}
        taken: set[int] = {p["nodePort"] for p in spec.get("ports") or [] if p.get("nodePort")}
        for index, port in enumerate(spec.get("ports") or []):
            if not port.get("nodePort"):
                port["nodePort"] = allocator.port(taken)
                continue
            problem = allocator.port_problem(port["nodePort"], own=own)
            if problem:
                raise _refused(obj, f"spec.ports[{index}].nodePort", port["nodePort"], problem)

    def _allocate_address(self, obj: Json, spec: Json, before: Json, allocator: Allocator) -> None:
        if spec["type"] == "ExternalName":
            for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                spec.pop(key, None)
            return
        chosen = spec.get("clusterIP") or ""
        if not chosen and spec.get("clusterIPs"):
            chosen = spec["clusterIPs"][0]
        if not chosen:
            chosen = allocator.address()
        elif chosen != "None":
            problem = allocator.address_problem(chosen, own=set(before.get("clusterIPs") or []))
            if problem:
                raise _refused(obj, "spec.clusterIPs", [chosen], problem)
        spec["clusterIP"] = chosen
        spec["clusterIPs"] = [chosen]
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")

    def validate_update(self, obj: Json, old: Json, found: Causes) -> None:
        """Refuse another address, unless the Service becomes or was an ExternalName."""
        spec, before = obj["spec"], old["spec"]
        if "ExternalName" in (spec["type"], before["type"]) or not before.get("clusterIP"):
            return
        if spec.get("clusterIP") != before["clusterIP"]:
            found.invalid("spec.clusterIPs[0]", [spec.get("clusterIP")], "may not change once set")


@filler
def complete_port(port: Json) -> None:
    """Fill in a port's target."""
    if port.get("targetPort") in (None, 0, ""):
        port["targetPort"] = port.get("port")


@function
def service_ports(spec: Json, field: str, found: Causes, _: Json) -> None:
    """Check that a Service has ports or a name, and its ports."""
    ports, kind = spec.get("ports") or [], spec["type"]
    if not ports and spec.get("clusterIP") != "None" and kind != "ExternalName":
        found.required(f"{field}.ports")
    if kind == "ExternalName":
        found.name(f"{field}.externalName", spec.get("externalName", "").removesuffix("."))
    seen: set[Any] = set()
    for index, port in enumerate(ports):
        place, name = f"{field}.ports[{index}]", port.get("name", "")
        if not name and len(ports) > 1:
            found.required(f"{place}.name")
        elif name:
            found.problems(f"{place}.name", name, names.dns_label(name))
            if name in seen:
                found.duplicate(f"{place}.name", name)
        seen.add(name)
        found.between(f"{place}.port", port.get("port", 0), 1, 65535)
        found.one_of(port, "protocol", place, ("SCTP", "TCP", "UDP"))
        target = port.get("targetPort")
        if isinstance(target, str):
            found.problems(f"{place}.targetPort", target, names.port_name(target))
        elif kind != "ExternalName":
            found.between(f"{place}.targetPort", target or 0, 1, 65535)
        if port.get("nodePort") and kind in ("ClusterIP", "ExternalName"):
            found.forbidden(f"{place}.nodePort", f"may not be used when `type` is '{kind}'")
    pairs: set[Any] = set()
    for index, port in enumerate(ports):
        pair = (port.get("protocol"), port.get("port"))
        if pair in pairs:
            shown = {"port": pair[1], "protocol": pair[0]}
            found.duplicate(f"{field}.ports[{index}]", shown)
        pairs.add(pair)


@function
def external_policy(policy: str | None, field: str, found: Causes, service: Json) -> None:
    """Check that only what is reached from outside has a policy for that."""
    spec = service["spec"]
    if policy and spec["type"] not in _WITH_NODE_PORTS and not spec.get("externalIPs"):
        found.invalid(field, policy, "may only be set for externally-accessible services")


def _identity(port: Json) -> tuple[Any, Any]:
    return (port.get("port"), port.get("protocol", "TCP"))


def _refused(obj: Json, field: str, value: object, problem: str) -> errors.StatusError:
    found = Causes()
    found.invalid(field, value, problem)
    return errors.invalid("", "Service", obj["metadata"].get("name", ""), found)
