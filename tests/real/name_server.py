"""The cluster's name server, for pods that reach Services by their addresses.

Answers A queries (RFC 1035) for Services and the endpoints of headless ones; other names as the node
resolves them. Contract: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import Callable
from typing import cast

from streamops_sandbox.node.routing import Router, is_cluster_name

#: The addresses of a name of the cluster; None where the name is not one of the cluster's.
Lookup = Callable[[str], list[str] | None]

_A, _IN = 1, 1
_NAME_ERROR = 3
_TTL = 5
_MAX_ANSWERS = 24  # what fits into 512 bytes
_TYPE_AND_CLASS = 4
_HEADER = struct.Struct(">6H")


class NameServer(asyncio.DatagramProtocol):
    """Answers queries over UDP."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._transport: asyncio.DatagramTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int = 53) -> None:
        """Listen on an address. Raises OSError."""
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=(host, port))

    def stop(self) -> None:
        """Stop listening."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a query; what is not one is dropped."""
        try:
            question = parse(data)
        except (ValueError, struct.error, IndexError):
            return
        task = asyncio.get_running_loop().create_task(self._answer(data, question, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, query: bytes, question: Question, addr: tuple[str, int]) -> None:
        addresses = self._lookup(question.name)
        if addresses is None:
            addresses = await self._resolve(question.name)
        if self._transport is not None:
            self._transport.sendto(answer(query, question, addresses), addr)

    async def _resolve(self, name: str) -> list[str]:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, UnicodeError, TimeoutError):
            async with asyncio.timeout(2):
                found = await loop.getaddrinfo(name, None, family=socket.AF_INET)
                return sorted({str(entry[4][0]) for entry in found})
        return []


class Question:
    """The question of a query: its name in lower case, its type, and where it ends."""

    def __init__(self, name: str, kind: int, end: int) -> None:
        self.name = name
        self.kind = kind
        self.end = end


def parse(query: bytes) -> Question:
    """Return the question of a query. Raises ValueError, IndexError or struct.error."""
    _, flags, count, _, _, _ = _HEADER.unpack_from(query)
    if flags & 0xF800 or count != 1:
        raise ValueError("not a standard query with one question")
    labels, position = [], _HEADER.size
    while length := query[position]:
        if length > 63:  # a pointer, which nothing before the question could be the target of
            raise ValueError("compressed name")
        labels.append(query[position + 1 : position + 1 + length].decode("ascii").lower())
        position += 1 + length
    kind, _ = struct.unpack_from(">2H", query, position + 1)
    return Question(".".join(labels), kind, position + 1 + _TYPE_AND_CLASS)


def answer(query: bytes, question: Question, addresses: list[str]) -> bytes:
    """Return the answer to a query: no addresses mean that there is no such name."""
    identifier, flags = struct.unpack_from(">2H", query)
    records = addresses[:_MAX_ANSWERS] if question.kind == _A else []
    code = 0 if addresses else _NAME_ERROR
    flags = 0x8480 | (flags & 0x0100) | code  # an answer, authoritative, recursion as asked for
    header = _HEADER.pack(identifier, flags, 1, len(records), 0, 0)
    body = b"".join(
        struct.pack(">3HIH", 0xC00C, _A, _IN, _TTL, 4) + ipaddress.IPv4Address(address).packed
        for address in records
    )
    return header + query[_HEADER.size : question.end] + body


def service_addresses(router: Router, host: str) -> list[str] | None:
    """Return what the name of a Service resolves to; None for a name outside the cluster."""
    found = router.service_of(host) if is_cluster_name(host) else None
    if found is None:
        return [] if is_cluster_name(host) else None
    service, hostname = found
    spec, metadata = service["spec"], service["metadata"]
    if spec.get("type") == "ExternalName":
        return service_addresses(router, spec["externalName"])
    if (address := spec.get("clusterIP") or "None") != "None":
        return [address]
    not_ready = bool(spec.get("publishNotReadyAddresses"))
    return [
        address
        for part in router.endpoints(metadata["namespace"], metadata["name"])
        for endpoint in part.get("endpoints") or []
        if not_ready or (endpoint.get("conditions") or {}).get("ready") is not False
        if not hostname or endpoint.get("hostname") == hostname
        for address in endpoint["addresses"]
    ]
