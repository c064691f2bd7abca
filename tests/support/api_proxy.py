"""A proxy in front of an API server that loses, refuses and delays on demand."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web
from support.producer import Loop
from support.tls import issue

#: "lose": carried out, but the connection is closed without the answer. "drop": closed before.
#: (status, headers): answered instead.
Fault = str | tuple[int, dict[str, str]]


@dataclass
class ApiProxy:
    """Serves HTTPS on `localhost`; `faults` holds what happens to the next requests of a method."""

    loop: Loop
    target: str
    target_ca: Path
    folder: Path
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    decide: Callable[[str, str], Fault | None] = lambda _method, _path: None
    seen: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.authority, certificate = issue("localhost", self.folder)
        self._trust = ssl.create_default_context(cafile=str(self.target_ca))

        def make(_url: str) -> web.Application:
            app = web.Application(client_max_size=16 << 20)
            app.router.add_route("*", "/{path:.*}", self._handle)
            return app

        self.url = self.loop.serve(make, tls=certificate)

    @property
    def port(self) -> str:
        return self.url.rsplit(":", 1)[1]

    async def _handle(self, request: web.Request) -> web.Response:
        self.seen.append((request.method, request.path))
        waiting = self.faults.get(request.method)
        fault = waiting.pop(0) if waiting else self.decide(request.method, request.path)
        body = await request.read()
        if isinstance(fault, tuple):
            return web.Response(status=fault[0], headers=fault[1], text="<html>not now</html>")
        answer = web.Response()
        if fault != "drop":
            answer = await self._forward(request, body)
        if fault is not None:
            assert request.transport is not None
            request.transport.abort()
        return answer

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        kept = {n: v for n, v in request.headers.items() if n.lower() not in {"host", "connection"}}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method,
                self.target + str(request.rel_url),
                data=body,
                headers=kept,
                ssl=self._trust,
            ) as answer,
        ):
            return web.Response(
                status=answer.status, body=await answer.read(), content_type="application/json"
            )
