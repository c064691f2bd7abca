"""Network namespaces for pods: 10.N.0.0/16 on a bridge, for API servers that refuse loopback addresses.

The layout is that of `Network`, below 10 instead of 127. Needs to be root in the network and mount
namespace it runs in, as `unshare --net --mount` (with `--user --map-root-user`: for anybody) gives.
Service and metadata addresses are local routes, so that this process can listen on each of them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import subprocess
from pathlib import Path

from streamops_sandbox.node.network import Network

_NAMESPACES = Path("/run/netns")
_COMMAND_SECONDS = 30


class PodNetwork(Network):
    """A /16 below 10, whose pods have a network namespace each; `open` before anything else."""

    _OCTET = 10

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type] # handed through
        self._interfaces: dict[str, list[str]] = {}

    @property
    def dns_ip(self) -> str:
        """The address of the cluster's name server."""
        return f"{self._OCTET}.{self.number}.64.10"

    @property
    def _bridge(self) -> str:
        return f"pods{self.number}"

    def open(self) -> None:
        """Make bridge and routes. Raises OSError."""
        self.close_links()  # of a process that was killed: the number is ours now
        prefix = f"{self._OCTET}.{self.number}"
        self._ip(
            "link set lo up",
            f"link add {self._bridge} type bridge",
            f"address add {self.node_ip}/18 dev {self._bridge}",
            f"link set {self._bridge} up",
            f"route add local {self.service_cidr} dev lo",
            f"route add local {prefix}.128.0/17 dev lo",
        )

    def close_links(self) -> None:
        """Remove the bridge with its routes, and the pods' namespaces; what is not there is ignored."""
        names = [path.name for path in _NAMESPACES.glob(f"pod-{self.number}-*")]
        local = (self.service_cidr, f"{self._OCTET}.{self.number}.128.0/17")
        self._ip(
            "-force",
            f"link delete {self._bridge}",
            *(f"route delete local {route} dev lo" for route in local),
            *(f"netns delete {name}" for name in names),
        )

    def close(self) -> None:
        """Give the network back."""
        self.close_links()
        super().close()

    async def join(self, address: str) -> Path:
        """Make a pod's network namespace with this address; returns its file. Raises OSError."""
        name, link = self._names(address)
        await asyncio.to_thread(
            self._ip,
            f"netns add {name}",
            f"link add {link} type veth peer name eth0 netns {name}",
            f"link set {link} master {self._bridge} up",
        )
        await asyncio.to_thread(
            self._ip,
            "link set lo up",
            f"address add {address}/18 dev eth0",
            "link set eth0 up",
            f"route add default via {self.node_ip}",
            namespace=name,
        )
        self._interfaces[address] = [f"link delete {link}", f"netns delete {name}"]
        return _NAMESPACES / name

    async def add(self, address: str) -> None:
        """Make a pod's address one of this process's own namespace. Raises OSError."""
        await asyncio.to_thread(self._ip, f"address add {address}/32 dev lo")
        self._interfaces[address] = [f"address delete {address}/32 dev lo"]

    async def leave(self, address: str) -> None:
        """Undo `join` or `add`."""
        for command in self._interfaces.pop(address, []):
            await asyncio.to_thread(self._ip, "-force", command)

    def _names(self, address: str) -> tuple[str, str]:
        offset = int(ipaddress.IPv4Address(address)) - self._base
        return f"pod-{self.number}-{offset}", f"v{self.number}-{offset}"

    @staticmethod
    def _ip(*commands: str, namespace: str = "") -> None:
        inside = ["-netns", namespace] if namespace else []
        force = ["-force"] if commands[0] == "-force" else []
        lines = "\n".join(commands[len(force) :]) + "\n"
        done = subprocess.run(
            ["ip", *inside, *force, "-batch", "-"],
            input=lines,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        if done.returncode and not force:
            raise OSError(f"ip: {done.stderr.strip()}")
