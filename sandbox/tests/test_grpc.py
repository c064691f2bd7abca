"""gRPC between the stand-ins of Knative's programs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.ports import free_port

from streamops_sandbox import grpc

HOST = "127.0.0.1"


async def snapshots(_request: bytes) -> AsyncIterator[bytes]:
    """One message, and then nothing for as long as the call lasts."""
    yield b"first"
    await asyncio.Event().wait()


def test_who_streams_is_told_when_the_server_ends() -> None:
    async def run() -> bytes:
        port = free_port()
        server = await grpc.serve(HOST, port, {"/test/Stream": snapshots})
        messages = grpc.call(HOST, port, "/test/Stream", b"{}")
        first = await anext(messages)
        server.close()
        with pytest.raises(grpc.GrpcError, match="the server is closing"):
            await anext(messages)
        return first

    assert asyncio.run(run()) == b"first"


def test_an_unknown_method_and_a_health_check_are_answered() -> None:
    async def run() -> bool:
        port = free_port()
        server = await grpc.serve(HOST, port, {grpc.HEALTH_CHECK: grpc.health})
        try:
            with pytest.raises(grpc.GrpcError):
                _ = [message async for message in grpc.call(HOST, port, "/test/None", b"{}")]
            return await grpc.health_check(HOST, port)
        finally:
            server.close()

    assert asyncio.run(run())
