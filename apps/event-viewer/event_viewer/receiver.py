"""`POST /`: takes CloudEvents, and keeps note of what it refuses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from event_viewer import cloudevents, metrics
from event_viewer.cloudevents import Invalid
from event_viewer.http import (
    Receive,
    Scope,
    Send,
    TooLarge,
    content_length,
    read_body,
    respond,
    respond_error,
)
from event_viewer.settings import Settings
from event_viewer.store.base import Rejection, StoreError, rfc3339
from event_viewer.writer import Overloaded, Writer

#: Of a refused request, what is kept to find out what was wrong with it.
KEPT_BODY = 2048
KEPT_HEADERS = 40
KEPT_VALUE = 256
RETRY_AFTER = ((b"retry-after", b"1"),)


class Answer(NamedTuple):
    """What a request is answered: a status, and the reason where it is refused."""

    status: int
    reason: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()


ACCEPTED = Answer(202)
OVERLOADED = Answer(
    429, "more events are waiting to be stored than may wait; try again later", RETRY_AFTER
)


class Receiver:
    """Answers 202 once the events are stored, so nothing that was acknowledged is lost."""

    def __init__(self, settings: Settings, writer: Writer) -> None:
        self.max_body = settings.max_body
        self.max_batch = settings.max_batch
        self.writer = writer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request of any size."""
        announced = content_length(scope)
        reserved = min(self.max_body if announced is None else announced, self.max_body)
        if not self.reserve(reserved):
            metrics.throttled.inc()
            answer = OVERLOADED
        else:
            try:
                body = await read_body(receive, self.max_body)
                answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
                self.take(scope, body, answered.set_result)
                answer = await asyncio.shield(answered)
            except TooLarge as error:
                reason = f"the body is larger than {self.max_body} bytes"
                answer = self._reject(scope, Answer(413, reason), b"", announced or error.size)
            finally:
                self.release(reserved)
        await respond_answer(send, answer)

    def reserve(self, size: int) -> bool:
        """Take room for a request of that size; `release` gives it back. False: there is none."""
        try:
            self.writer.reserve(size)
        except Overloaded:
            return False
        return True

    def release(self, size: int) -> None:
        """Give back what `reserve` took."""
        self.writer.release(size)

    def take(self, scope: Scope, body: bytes, answer: Callable[[Answer], None]) -> None:
        """Handle a request that is there as a whole; `answer` is called now or later."""
        try:
            events = cloudevents.parse(scope["headers"], body, self.max_batch)
        except Invalid as error:
            refusal = Answer(error.status, error.reason)
            answer(self._reject(scope, refusal, body, len(body)))
            return
        if not events:
            answer(ACCEPTED)
            return

        def done(error: StoreError | None) -> None:
            if error is None:
                answer(ACCEPTED)
            else:
                answer(Answer(503, f"the event cannot be stored: {error}", RETRY_AFTER))

        self.writer.store_events(events, done)

    def _reject(self, scope: Scope, refusal: Answer, body: bytes, size: int) -> Answer:
        """Keep note of the request."""
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
        return refusal


async def respond_answer(send: Send, answer: Answer) -> None:
    """Send an answer in ASGI's way."""
    if answer.reason:
        await respond_error(send, answer.status, answer.reason, answer.headers)
    else:
        await respond(send, answer.status, headers=answer.headers)


def _telling_headers(scope: Scope) -> dict[str, str]:
    """The headers that say something about the event; never those with credentials."""
    return {
        name.decode("latin-1"): value[:KEPT_VALUE].decode(errors="replace")
        for name, value in scope["headers"][:KEPT_HEADERS]
        if name.startswith((b"ce-", b"content-", b"user-agent"))
    }
