"""Services: their defaults, cluster IPs and node ports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamops_sandbox.kube import errors
from streamops_sandbox.kube.allocation import Allocator
from streamops_sandbox.kube.kinds import rules
from streamops_sandbox.kube.kinds.strategy import Strategy

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

Json = dict[str, Any]
_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")
_CHOICES = {
    "spec.type": ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort"),
    "spec.sessionAffinity": ("ClientIP", "None"),
    "spec.externalTrafficPolicy": ("Cluster", "Local"),
    "spec.internalTrafficPolicy": ("Cluster", "Local"),
    "spec.ports[].protocol": ("SCTP", "TCP", "UDP"),
}


class Services(Strategy):
    """A stable address for pods."""

    def __init__(self, network: str) -> None:
        self._network = network

    def default(self, obj: Json) -> None:
        """As pkg/apis/core/v1/defaults.go."""
        spec = obj.setdefault("spec", {})
        spec.setdefault("sessionAffinity", "None")
        kind = spec.setdefault("type", "ClusterIP")
        for port in spec.get("ports") or []:
            port.setdefault("protocol", "TCP")
            if port.get("targetPort") in (None, 0, ""):
                port["targetPort"] = port.get("port")
        if spec["sessionAffinity"] == "ClientIP":
            spec.setdefault("sessionAffinityConfig", {"clientIP": {"timeoutSeconds": 10800}})
        if kind in _WITH_NODE_PORTS:
            spec.setdefault("externalTrafficPolicy", "Cluster")
        if kind != "ExternalName":
            spec.setdefault("internalTrafficPolicy", "Cluster")
        if kind == "LoadBalancer":
            spec.setdefault("allocateLoadBalancerNodePorts", True)

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Give it its addresses."""
        obj["status"] = {"loadBalancer": {}}
        if not self.validate(obj):  # otherwise it is refused, for all that is wrong
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
                shown = f'["{chosen}"]' if "failed" in problem else chosen
                raise _refused(obj, "spec.clusterIPs", shown, problem)
        spec["clusterIP"] = chosen
        spec["clusterIPs"] = [chosen]
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")

    def validate(self, obj: Json) -> list[Json]:
        """Ports are there, named apart, and in range."""
        spec = obj["spec"]
        ports = spec.get("ports") or []
        found = rules.one_of(obj, _CHOICES)
        if spec["type"] == "ExternalName":
            if not spec.get("externalName"):
                found.append(
                    errors.cause("FieldValueRequired", "spec.externalName", "Required value")
                )
            return found
        if not ports and spec.get("clusterIP") != "None":
            found.append(errors.cause("FieldValueRequired", "spec.ports", "Required value"))
        seen: set[str] = set()
        for index, port in enumerate(ports):
            field = f"spec.ports[{index}]"
            name = port.get("name", "")
            if not name and len(ports) > 1:
                found.append(errors.cause("FieldValueRequired", f"{field}.name", "Required value"))
            if name and name in seen:
                found.append(
                    errors.cause(
                        "FieldValueDuplicate", f"{field}.name", f'Duplicate value: "{name}"'
                    )
                )
            seen.add(name)
            if not 1 <= port.get("port", 0) <= 65535:
                found.append(
                    errors.cause(
                        "FieldValueInvalid",
                        f"{field}.port",
                        f"Invalid value: {port.get('port', 0)}: must be between 1 and 65535, "
                        "inclusive",
                    )
                )
        return found

    def validate_update(self, obj: Json, old: Json) -> list[Json]:
        """The address stays, unless the Service becomes or was an ExternalName."""
        spec, before = obj["spec"], old["spec"]
        if "ExternalName" in (spec["type"], before["type"]):
            return []
        if spec.get("clusterIP") == before.get("clusterIP") or not before.get("clusterIP"):
            return []
        shown = f'["{spec.get("clusterIP")}"]'
        return [
            errors.cause(
                "FieldValueInvalid",
                "spec.clusterIPs[0]",
                f"Invalid value: {shown}: may not change once set",
            )
        ]


def _identity(port: Json) -> tuple[Any, Any]:
    return (port.get("port"), port.get("protocol", "TCP"))


def _refused(obj: Json, field: str, value: object, problem: str) -> errors.StatusError:
    return errors.invalid(
        "",
        "Service",
        obj["metadata"].get("name", ""),
        [errors.cause("FieldValueInvalid", field, f"Invalid value: {value}: {problem}")],
    )
