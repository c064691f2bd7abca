"""gRPC's health checks."""

from __future__ import annotations

import asyncio

from support.ports import free_port

from streamops_sandbox import grpc

HOST = "127.0.0.1"


def test_a_health_check_is_answered_while_somebody_serves() -> None:
    async def run() -> list[bool]:
        port = free_port()
        found = []
        async with grpc.serving_health(HOST, port):
            found.append(await grpc.health_check(HOST, port))
        found.append(await grpc.health_check(HOST, port))
        return found

    assert asyncio.run(run()) == [True, False]
