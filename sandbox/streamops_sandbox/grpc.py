"""gRPC over cleartext HTTP/2: health checks, and server streams between stand-ins of Knative's programs.

Messages are bytes. Health service: grpc/doc/health-checking.md. (grpcio would cost 20 MiB of memory
and a thread in every cluster process.)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any

from grpclib.client import Channel
from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.server import Server, Stream

#: A method: takes the one request message, yields the response messages.
Method = Callable[[bytes], AsyncIterator[bytes]]

HEALTH_CHECK = "/grpc.health.v1.Health/Check"
_SERVING = b"\x08\x01"  # HealthCheckResponse{status: SERVING}


class GrpcError(Exception):
    """A call that failed: the connection broke, or a status other than OK."""


class _Bytes(CodecBase):
    """Leaves encoding to the caller."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


class _Service:
    """Methods by path, `/package.Service/Method`, in the form grpclib takes them."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self._methods = methods

    def __mapping__(self) -> dict[str, Handler]:
        return {
            path: Handler(_handler(method), Cardinality.UNARY_STREAM, bytes, bytes)
            for path, method in self._methods.items()
        }


def _handler(method: Method) -> Callable[[Stream[bytes, bytes]], Any]:
    async def handle(stream: Stream[bytes, bytes]) -> None:
        try:
            async for reply in method(await stream.recv_message() or b""):
                await stream.send_message(reply)
        except asyncio.CancelledError:  # who streams has to find out that nothing more comes
            raise GRPCError(Status.UNAVAILABLE, "the server is closing") from None

    return handle


async def health(_request: bytes) -> AsyncIterator[bytes]:
    """Answer `grpc.health.v1.Health/Check`: serving."""
    yield _SERVING


async def serve(host: str, port: int, methods: Mapping[str, Method]) -> Server:
    """Serve methods until the server is closed, which breaks off calls; keys are their paths."""
    server = Server([_Service(methods)], codec=_Bytes())
    await server.start(host, port)
    return server


async def health_check(
    host: str,
    port: int,
    service: str = "",
    *,
    timeout: float = 1.0,  # noqa: ASYNC109 - the one place that waits
) -> bool:
    """Ask a server for its health, as a kubelet's grpc probe does; seconds to wait in `timeout`."""
    request = b"\x0a" + bytes([len(service)]) + service.encode() if service else b""
    with contextlib.suppress(GrpcError, OSError, TimeoutError):
        async with asyncio.timeout(timeout):
            async with contextlib.aclosing(call(host, port, HEALTH_CHECK, request)) as replies:
                async for reply in replies:
                    return reply == _SERVING
    return False


async def call(host: str, port: int, path: str, request: bytes) -> AsyncGenerator[bytes]:
    """Make one call and yield its response messages; closing the iterator ends the call.

    Raises:
        GrpcError: when the connection breaks or the status is not OK.
        OSError: when nothing listens there.
    """
    channel = Channel(host, port, codec=_Bytes())
    try:
        async with channel.request(path, Cardinality.UNARY_STREAM, bytes, bytes) as stream:
            await stream.send_message(request, end=True)
            async for reply in stream:
                yield reply
    except GRPCError as error:
        raise GrpcError(error.message or error.status.name) from error
    except StreamTerminatedError as error:
        raise GrpcError(f"the call was broken off: {error}") from error
    finally:
        channel.close()
