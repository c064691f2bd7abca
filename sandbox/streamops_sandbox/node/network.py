"""The cluster's part of the loopback network: 127.N.0.0/16.

    127.N.0.1                   the node: kubelet port, forward proxy
    127.N.0.0/18   (from .0.2)  pods
    127.N.64.0/18               Services (cluster IPs)
    127.N.128.0/17              metadata servers, each pod's at its own address + 0.0.128.0

Linux answers on all of 127.0.0.0/8 without any set-up, which is what gives every pod an address
of its own without privileges.
"""

from __future__ import annotations

import ipaddress
import socket
from itertools import chain
from typing import Self

_FIRST, _LAST = 64, 254
_PODS = 1 << 14


class Network:
    """A /16 of the loopback network that no other sandbox of this machine uses."""

    _OCTET = 127

    def __init__(self, number: int, claim: socket.socket) -> None:
        self.number = number
        self.node_ip = f"{self._OCTET}.{number}.0.1"
        self.pod_cidr = f"{self._OCTET}.{number}.0.0/18"
        self.service_cidr = f"{self._OCTET}.{number}.64.0/18"
        self._claim = claim
        self._base = int(ipaddress.IPv4Address(f"{self._OCTET}.{number}.0.0"))
        self._used: set[str] = set()
        self._last = 1

    @classmethod
    def reserve(cls) -> Self:
        """Take a free network, until `close` or the process ends. Raises OSError if all are taken.

        An abstract socket is the claim: every user of the machine sees it, and no file remains.
        """
        for number in range(_FIRST, _LAST + 1):
            claim = socket.socket(socket.AF_UNIX)
            try:
                claim.bind(f"\0streamops-sandbox/{cls._OCTET}.{number}")
            except OSError:
                claim.close()
                continue
            return cls(number, claim)
        first, last = f"{cls._OCTET}.{_FIRST}", f"{cls._OCTET}.{_LAST}"
        raise OSError(f"all networks {first}.0.0/16 to {last}.0.0/16 are in use")

    def close(self) -> None:
        """Give the network back."""
        self._claim.close()

    def is_service(self, address: str) -> bool:
        """Whether an address is in the range of the Services' addresses."""
        try:
            return ipaddress.IPv4Address(address) in ipaddress.IPv4Network(self.service_cidr)
        except ValueError:  # "None", of a headless Service
            return False

    def allocate(self) -> str:
        """Return an address for a pod; one that was released comes back as late as possible."""
        for offset in chain(range(self._last + 1, _PODS - 1), range(2, self._last + 1)):
            address = str(ipaddress.IPv4Address(self._base + offset))
            if address not in self._used:
                self._used.add(address)
                self._last = offset
                return address
        raise OSError(f"no address left in {self.pod_cidr}")

    def release(self, address: str) -> None:
        """Give a pod's address back."""
        self._used.discard(address)

    def metadata_ip(self, pod_ip: str) -> str:
        """Return the address of a pod's metadata server."""
        return str(ipaddress.IPv4Address(int(ipaddress.IPv4Address(pod_ip)) + (128 << 8)))
