"""Faults on demand: error answers, pauses and broken connections for the next requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from http.client import responses
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from streamops_sandbox.x.problems import Problem

KINDS = ("status", "drop", "truncate", "garbage", "delay")


@dataclass
class Fault:
    """What happens to the next `count` requests whose path starts with `path`.

    status: answer with this `status`; drop: close without an answer; truncate: close in the middle
    of the answer; garbage: answer 200 with no JSON; delay: answer after `seconds`.
    """

    kind: str
    count: int = 1
    status: int = 503
    seconds: float = 0.0
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} is none of {', '.join(KINDS)}")


class Faults:
    """Those still to happen, in order."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []

    def controls(self) -> dict[str, Callable[..., Any]]:
        """Return the functions that the control interface plans faults with."""
        return {
            "GET /faults": lambda _: [asdict(fault) for fault in self.waiting],
            "POST /faults": lambda description: self.waiting.append(Fault(**description)),
            "DELETE /faults": lambda _: self.waiting.clear(),
        }

    async def serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request, as the first fault that fits it has it."""
        fault = next((f for f in self.waiting if request.path.startswith(f.path)), None)
        if fault is None:
            return await handler(request)
        fault.count -= 1
        if fault.count <= 0:
            self.waiting.remove(fault)
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
            return await handler(request)
        if fault.kind == "status":
            title = responses.get(fault.status, "Error")
            raise Problem(fault.status, title, f"{title}: on demand", headers=dict(fault.headers))
        if fault.kind == "garbage":
            return web.Response(text="<html>over capacity</html>", content_type="text/html")
        answer: web.StreamResponse = web.Response()
        if fault.kind == "truncate":
            answer = await _truncated(request, await handler(request))
        if request.transport is not None:
            request.transport.abort()
        return answer  # to nobody: the connection is closed


async def _truncated(request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    """Send half of an answer's body; return what was sent."""
    body = answer.body if isinstance(answer, web.Response) else b""
    assert isinstance(body, bytes)
    partial = web.StreamResponse(status=answer.status)
    partial.content_length = len(body)
    partial.content_type = "application/json"
    await partial.prepare(request)
    await partial.write(body[: len(body) // 2])
    return partial
