"""gRPC's health checks (grpc/doc/health-checking.md) over cleartext HTTP/2.

Messages are bytes: grpcio would cost 20 MiB of memory and a thread in every cluster process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.const import Cardinality, Handler
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.server import Server, Stream

_CHECK = "/grpc.health.v1.Health/Check"
_SERVING = b"\x08\x01"  # HealthCheckResponse{status: SERVING}


class _Bytes(CodecBase):
    """Leaves encoding to the caller."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


class _Health:
    """The health service, which is always serving."""

    def __mapping__(self) -> dict[str, Handler]:
        return {_CHECK: Handler(self._check, Cardinality.UNARY_UNARY, bytes, bytes)}

    async def _check(self, stream: Stream[bytes, bytes]) -> None:
        await stream.recv_message()
        await stream.send_message(_SERVING)


@asynccontextmanager
async def serving_health(host: str, port: int) -> AsyncIterator[None]:
    """Answer health checks on a port until the context is left."""
    server = Server([_Health()], codec=_Bytes())
    await server.start(host, port)
    try:
        yield
    finally:
        server.close()


async def health_check(
    host: str,
    port: int,
    service: str = "",
    *,
    timeout: float = 1.0,  # noqa: ASYNC109 - the one place that waits
) -> bool:
    """Ask a server for its health, as a kubelet's grpc probe does; seconds to wait in `timeout`."""
    request = b"\x0a" + bytes([len(service)]) + service.encode() if service else b""
    channel = Channel(host, port, codec=_Bytes())
    try:
        async with asyncio.timeout(timeout):
            return await UnaryUnaryMethod(channel, _CHECK, bytes, bytes)(request) == _SERVING
    except (GRPCError, StreamTerminatedError, OSError):
        return False
    finally:
        channel.close()
