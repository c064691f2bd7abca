"""Services: their defaults and rules, and the cluster IPs and node ports they get."""

from __future__ import annotations

import ipaddress
import random
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from streamops_sandbox.kube import errors
from streamops_sandbox.kube.api import Api
from streamops_sandbox.kube.kinds import declared
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import filler, function
from streamops_sandbox.kube.kinds.strategy import Strategy
from streamops_sandbox.objects import Object

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

_EXTERNAL_IPS = "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")
_NODE_PORTS = range(30000, 32768)
_TRIES = 200
_ADDRESS_FIELDS = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
#: Fields that only some types have.
_TYPE_FIELDS = {
    "allocateLoadBalancerNodePorts": ("LoadBalancer",), "loadBalancerClass": ("LoadBalancer",),
    "healthCheckNodePort": ("LoadBalancer",), "externalTrafficPolicy": _WITH_NODE_PORTS,
}  # fmt: skip


class Services(Strategy):
    """A stable address for pods."""

    def __init__(self, rules: Object | None = None, *, network: str) -> None:
        super().__init__(rules)
        self._network = network

    def prepare_create(self, obj: Object, api: Api) -> None:
        """Give it its addresses."""
        obj["status"] = {"loadBalancer": {}}
        found = Causes()
        self.validate(obj, found)
        if not found:  # otherwise it is refused, for all that is wrong
            self._allocate(obj, {}, api)

    def prepare_update(self, obj: Object, old: Object, api: Api) -> None:
        """Keep what it has; give or take what its type needs."""
        spec, before = obj["spec"], old.get("spec") or {}
        if spec["type"] != "ExternalName" and before.get("type") != "ExternalName":
            obj["spec"] = spec = {**{k: before[k] for k in _ADDRESS_FIELDS if k in before}, **spec}
        if before.get("healthCheckNodePort") and spec["type"] == "LoadBalancer":
            spec.setdefault("healthCheckNodePort", before["healthCheckNodePort"])
        for key, wanted in _TYPE_FIELDS.items():
            if (
                spec.get(key) == before.get(key)
                and before["type"] in wanted
                and spec["type"] not in wanted
            ):
                spec.pop(key, None)
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
        self._allocate(obj, before, api)

    def warnings(self, obj: Object) -> list[str]:
        """Warn of what is deprecated."""
        found = []
        if obj["spec"].get("externalIPs"):
            found.append(_EXTERNAL_IPS)
        if obj["spec"].get("trafficDistribution") == "PreferClose":
            text = 'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'
            found.append(text)
        return found

    def _allocate(self, obj: Object, before: Object, api: Api) -> None:
        spec = obj["spec"]
        if spec["type"] == "ExternalName":
            for key in _ADDRESS_FIELDS:
                spec.pop(key, None)
            return
        chosen = spec.get("clusterIP") or (spec.get("clusterIPs") or [""])[0]
        own = set(before.get("clusterIPs") or [])
        used = {one for other in _specs(api) for one in other.get("clusterIPs") or []} - own
        spec["clusterIP"] = self._address(obj, chosen, used)
        spec["clusterIPs"] = [spec["clusterIP"]]
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        balanced = spec["type"] == "LoadBalancer"
        if spec["type"] in _WITH_NODE_PORTS and not (
            balanced and spec.get("allocateLoadBalancerNodePorts") is False
        ):
            self._allocate_ports(obj, spec, before, _used_ports(api))

    def _address(self, obj: Object, chosen: str, used: set[str]) -> str:
        if chosen == "None":
            return chosen
        network, problem = ipaddress.ip_network(self._network), ""
        for _ in range(0 if chosen else _TRIES):
            number = random.randint(1, network.num_addresses - 2)  # noqa: S311 - no secret
            if str(network[number]) not in used:
                return str(network[number])
        if not chosen:
            raise errors.internal("failed to allocate IP: range is full")
        if ipaddress.ip_address(chosen) not in network:
            problem = "the provided network does not match the current range"
        elif chosen in used:
            problem = "provided IP is already allocated"
        if problem:
            why = f"failed to allocate IP {chosen}: {problem}"
            raise _refused(obj, "spec.clusterIPs", [chosen], why)
        return chosen

    @staticmethod
    def _allocate_ports(obj: Object, spec: Object, before: Object, used: set[int]) -> None:
        ports = spec.get("ports") or []
        own = {port.get("nodePort") for port in before.get("ports") or []}
        for index, port in enumerate(ports):
            number, problem = port.get("nodePort"), ""
            if number and number not in _NODE_PORTS:
                bounds = f"{_NODE_PORTS.start}-{_NODE_PORTS.stop - 1}"
                where = "not in the valid range. The range of valid ports is"
                problem = f"provided port is {where} {bounds}"
            elif number in used - own:
                problem = "provided port is already allocated"
            if number and problem:
                raise _refused(obj, f"spec.ports[{index}].nodePort", number, problem)
        used |= {port["nodePort"] for port in ports if port.get("nodePort")}
        local = spec["type"] == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
        if local and not spec.get("healthCheckNodePort"):
            spec["healthCheckNodePort"] = _free_port(used)
        for port in ports:
            if not port.get("nodePort"):
                port["nodePort"] = _free_port(used)

    def validate_update(self, obj: Object, old: Object, found: Causes) -> None:
        """Refuse another address, unless the Service becomes or was an ExternalName."""
        spec, before = obj["spec"], old["spec"]
        if "ExternalName" in (spec["type"], before["type"]) or not before.get("clusterIP"):
            return
        if spec.get("clusterIP") != before["clusterIP"]:
            found.invalid("spec.clusterIPs[0]", [spec.get("clusterIP")], "may not change once set")


@filler
def complete_port(port: Object) -> None:
    """Fill in a port's target."""
    if port.get("targetPort") in (None, 0, ""):
        port["targetPort"] = port.get("port")


@filler
def complete_service(service: Object) -> None:
    """Drop what has no meaning."""
    if service["spec"]["sessionAffinity"] == "None":
        service["spec"].pop("sessionAffinityConfig", None)


@function
def service_addresses(spec: Object, field: str, found: Causes, _: Object) -> None:
    """Check a Service's addresses, which are of the one family there is."""
    addresses = spec.get("clusterIPs") or []
    for index, address in enumerate(addresses or [spec.get("clusterIP")]):
        if address not in (None, "", "None"):
            declared.ip(address, f"{field}.clusterIPs[{index}]", found)
    if spec.get("clusterIP") and addresses and addresses[0] != spec["clusterIP"]:
        found.invalid(f"{field}.clusterIPs", addresses, "first value must match `clusterIP`")
    if "IPv6" in (spec.get("ipFamilies") or [])[:1] and spec.get("clusterIP") != "None":
        found.invalid(f"{field}.ipFamilies[0]", "IPv6", "not configured on this cluster")


@function
def service_pairs(ports: list[Object] | None, field: str, found: Causes, _: Object) -> None:
    """Check that ports are stated once."""
    pairs = [(port.get("protocol"), port.get("port")) for port in ports or []]
    for index, (protocol, port) in enumerate(pairs):
        if (protocol, port) in pairs[:index]:
            found.duplicate(f"{field}[{index}]", {"port": port, "protocol": protocol})


def _identity(port: Object) -> tuple[Any, Any]:
    return (port.get("port"), port.get("protocol", "TCP"))


def _refused(obj: Object, field: str, value: object, problem: str) -> errors.StatusError:
    found = Causes()
    found.invalid(field, value, problem)
    return errors.invalid("", "Service", obj["metadata"].get("name", ""), found)


def _specs(api: Api) -> Iterator[Object]:
    for stored in api.store.collection("services").items():
        yield stored.load().get("spec") or {}


def _used_ports(api: Api) -> set[int]:
    used: set[int] = set()
    for spec in _specs(api):
        used.update(port.get("nodePort") or 0 for port in spec.get("ports") or [])
        used.add(spec.get("healthCheckNodePort") or 0)
    return used


def _free_port(used: set[int]) -> int:
    """Return a node port that no Service has and nothing on this machine listens on; adds it to those used."""
    for _ in range(_TRIES):
        candidate = random.choice(_NODE_PORTS)  # noqa: S311 - no secret
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            if candidate not in used and probe.connect_ex(("127.0.0.1", candidate)):
                used.add(candidate)
                return candidate
    raise errors.internal("failed to allocate a nodePort: range is full")
