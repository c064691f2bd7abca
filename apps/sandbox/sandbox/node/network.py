"""The cluster's part of the loopback network: 127.N.0.0/16.

    127.N.0.1                   the node: kubelet port, forward proxy
    127.N.0.0/18   (from .0.2)  pods
    127.N.64.0/18               Services (cluster IPs)
    127.N.128.0/17              metadata servers, each pod's at its own address + 0.0.128.0

Linux answers on all of 127.0.0.0/8 without any set-up, which is what gives every pod an address
of its own without privileges.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import tempfile
from itertools import chain
from pathlib import Path
from typing import IO

_FIRST, _LAST = 64, 254
_PODS = 1 << 14


class Network:
    """A /16 of the loopback network that no other sandbox of this machine uses."""

    def __init__(self, number: int, lock: IO[str] | None = None) -> None:
        self.number = number
        self._lock = lock
        self._base = int(ipaddress.IPv4Address(f"127.{number}.0.0"))
        self._used: set[str] = set()
        self._last = 1

    @classmethod
    def reserve(cls, lock_dir: Path | None = None) -> Network:
        """Take a free network; held by file locks until the process ends or `close`.

        Raises OSError where all are taken.
        """
        folder = lock_dir or Path(tempfile.gettempdir()) / f"sandbox-networks-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        span = _LAST - _FIRST + 1
        start = os.getpid() % span  # spreads sandboxes of other users, whose locks are unseen
        for offset in range(span):
            number = _FIRST + (start + offset) % span
            lock = (folder / str(number)).open("w", encoding="ascii")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                continue
            return cls(number, lock)
        raise OSError(f"all networks 127.{_FIRST}.0.0/16 to 127.{_LAST}.0.0/16 are in use")

    def close(self) -> None:
        """Give the network back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def node_ip(self) -> str:
        """The node's address."""
        return f"127.{self.number}.0.1"

    @property
    def pod_cidr(self) -> str:
        """The range of the pods' addresses."""
        return f"127.{self.number}.0.0/18"

    @property
    def service_cidr(self) -> str:
        """The range of the Services' addresses."""
        return f"127.{self.number}.64.0/18"

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
