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
            self._allocate(obj, {}, Allocator(api, self._network))

    def prepare_update(self, obj: Object, old: Object, api: Api) -> None:
        """Keep what it has; give or take what its type needs."""
        spec, before = obj["spec"], old.get("spec") or {}
        if spec["type"] != "ExternalName" and before.get("type") != "ExternalName":
            for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                if key not in spec and key in before:
                    spec[key] = before[key]
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
        self._allocate(obj, before, Allocator(api, self._network))

    def warnings(self, obj: Object) -> list[str]:
        """Warn of what is deprecated."""
        found = []
        if obj["spec"].get("externalIPs"):
            found.append(_EXTERNAL_IPS)
        if obj["spec"].get("trafficDistribution") == "PreferClose":
            text = 'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'
            found.append(text)
        return found

    def _allocate(self, obj: Object, before: Object, allocator: Allocator) -> None:
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

    def _allocate_address(
        self, obj: Object, spec: Object, before: Object, allocator: Allocator
    ) -> None:
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


NODE_PORTS = range(30000, 32768)
_TRIES = 200


class Allocator:
    """Picks free cluster IPs of a network and free node ports."""

    def __init__(self, api: Api, network: str) -> None:
        self._api = api
        self.network = ipaddress.ip_network(network)

    def _specs(self) -> Iterator[Object]:
        for stored in self._api.store.collection("services").items():
            yield stored.load().get("spec") or {}

    def _used_addresses(self) -> set[str]:
        return {address for spec in self._specs() for address in spec.get("clusterIPs") or []}

    def _used_ports(self) -> set[int]:
        used: set[int] = set()
        for spec in self._specs():
            used.update(port.get("nodePort") or 0 for port in spec.get("ports") or [])
            used.add(spec.get("healthCheckNodePort") or 0)
        return used

    def address(self) -> str:
        """A free cluster IP; raises a 500 when the network is used up."""
        used = self._used_addresses()
        size = self.network.num_addresses - 2
        for _ in range(_TRIES):
            candidate = str(self.network[random.randint(1, size)])  # noqa: S311 - no secret
            if candidate not in used:
                return candidate
        for host in self.network.hosts():
            if str(host) not in used:
                return str(host)
        raise errors.internal("failed to allocate IP: range is full")

    def address_problem(self, address: str, *, own: set[str]) -> str:
        """What is wrong with a cluster IP somebody chose; empty when it can be had."""
        if ipaddress.ip_address(address) not in self.network:
            return (
                f"failed to allocate IP {address}: the provided network does not match the current "
                "range"
            )
        if address in self._used_addresses() - own:
            return f"failed to allocate IP {address}: provided IP is already allocated"
        return ""

    def port(self, taken: set[int]) -> int:
        """A node port that no Service has and nothing on this machine listens on."""
        used = self._used_ports() | taken
        for _ in range(_TRIES):
            candidate = random.choice(NODE_PORTS)  # noqa: S311 - no secret
            if candidate not in used and _is_free(candidate):
                taken.add(candidate)
                return candidate
        raise errors.internal("failed to allocate a nodePort: range is full")

    def port_problem(self, port: int, *, own: set[int]) -> str:
        """What is wrong with a node port somebody chose; empty when it can be had."""
        if port not in NODE_PORTS:
            return (
                f"provided port is not in the valid range. The range of valid ports is "
                f"{NODE_PORTS.start}-{NODE_PORTS.stop - 1}"
            )
        if port in self._used_ports() - own:
            return "provided port is already allocated"
        return ""


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
