"""`POST /`: take CloudEvents, and keep a record of those that are refused."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from starlette.types import Receive, Scope, Send

from event_viewer import cloudevents, metrics
from event_viewer.cloudevents import Event, Invalid
from event_viewer.http import RETRY_AFTER, Answer, Body, Problem, error_answer, header
from event_viewer.settings import Settings
from event_viewer.store.interface import Rejection, StoreError, rfc3339
from event_viewer.writer import Writer

#: Of a refused request, what is kept to find out what was wrong with it.
KEPT_BODY = 2048
KEPT_HEADERS = 40
KEPT_VALUE = 256
#: Bodies from this size on are parsed in a thread, so that other requests are served meanwhile.
LARGE_BODY = 64 << 10
#: Longest name that may ask for permission to send events.
MAX_ORIGIN = 255

ACCEPTED = Answer(202)


class Receiver:
    """Answers 202 once the events are stored, so nothing that was acknowledged is lost."""

    def __init__(self, settings: Settings, writer: Writer) -> None:
        self.max_body = settings.max_body_bytes
        self.max_batch = settings.max_batch_events
        self.writer = writer
        self._parsing = ThreadPoolExecutor(1, thread_name_prefix="parser")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        body = Body(self.writer.room, self.max_body)
        try:
            await (await self._take(scope, receive, body))(scope, receive, send)
        finally:
            body.release()

    async def _take(self, scope: Scope, receive: Receive, body: Body) -> Answer:
        content = b""
        try:
            content = await body.read(receive)
            events = await self._parse(scope, content)
            if events:
                await self.writer.store_events(events)
        except Problem as problem:
            if problem.status == 429:
                metrics.throttled.inc()
                raise
            announced = header(scope["headers"], b"content-length")
            return self._reject(scope, problem, b"", int(announced or 0))
        except Invalid as error:
            refusal = Problem(error.status, error.reason)
            return self._reject(scope, refusal, content, len(content))
        except StoreError as error:
            raise Problem(503, f"the event cannot be stored: {error}", RETRY_AFTER) from None
        return ACCEPTED

    async def _parse(self, scope: Scope, content: bytes) -> list[Event]:
        arguments = (scope["headers"], content, self.max_batch)
        if len(content) < LARGE_BODY:
            return cloudevents.parse(*arguments)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._parsing, cloudevents.parse, *arguments)

    def _reject(self, scope: Scope, refusal: Problem, body: bytes, size: int) -> Answer:
        """Keep a record of the request."""
        metrics.rejected.labels(str(refusal.status)).inc()
        client = scope.get("client") or ("",)
        self.writer.store_rejection(
            Rejection(
                received=rfc3339(time.time_ns() // 1_000_000),
                status=refusal.status,
                reason=refusal.reason[:1000],
                client=str(client[0]),
                headers=_telling_headers(scope),
                size=size,
                body=body[:KEPT_BODY].decode(errors="replace"),
            )
        )
        return error_answer(refusal.status, refusal.reason, refusal.headers)


async def permit_delivery(scope: Scope, receive: Receive, send: Send) -> None:
    """`OPTIONS /`: grant a sender's request for permission (HTTP 1.1 Web Hooks for Event Delivery).

    Nothing is sent to the URL it may name for the grant: the answer is the grant.
    """
    headers = [(b"allow", b"GET, HEAD, OPTIONS, POST")]
    origin = header(scope["headers"], b"webhook-request-origin")
    if 0 < len(origin) <= MAX_ORIGIN and origin.isascii():
        headers += [(b"webhook-allowed-origin", origin), (b"webhook-allowed-rate", b"*")]
    await Answer(200, headers=tuple(headers))(scope, receive, send)


def _telling_headers(scope: Scope) -> dict[str, str]:
    """Return the headers that describe the event; never those with credentials."""
    return {
        name.decode("latin-1"): value[:KEPT_VALUE].decode(errors="replace")
        for name, value in scope["headers"][:KEPT_HEADERS]
        if name.startswith((b"ce-", b"content-", b"user-agent"))
    }
