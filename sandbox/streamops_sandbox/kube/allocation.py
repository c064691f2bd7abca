"""Addresses and ports that Services get: cluster IPs and node ports.

What is in use is read from the Services themselves, so nothing can get out of step.
"""

from __future__ import annotations

import ipaddress
import random
import socket
from collections.abc import Iterator

from streamops_sandbox.kube import errors
from streamops_sandbox.kube.api import Api

NODE_PORTS = range(30000, 32768)
_TRIES = 200


class Allocator:
    """Picks free cluster IPs of a network and free node ports."""

    def __init__(self, api: Api, network: str) -> None:
        self._api = api
        self.network = ipaddress.ip_network(network)

    def _services(self) -> Iterator[dict[str, object]]:
        for stored in self._api.store.collection("services").items():
            yield stored.load()

    def _used_addresses(self) -> set[str]:
        used: set[str] = set()
        for service in self._services():
            spec = service.get("spec")
            if isinstance(spec, dict):
                used.update(spec.get("clusterIPs") or [])
        return used

    def _used_ports(self) -> set[int]:
        used: set[int] = set()
        for service in self._services():
            spec = service.get("spec")
            if isinstance(spec, dict):
                ports = spec.get("ports") or []
                used.update(port["nodePort"] for port in ports if port.get("nodePort"))
                if spec.get("healthCheckNodePort"):
                    used.add(spec["healthCheckNodePort"])
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
        try:
            inside = ipaddress.ip_address(address) in self.network
        except ValueError:
            return "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        if not inside:
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
