"""`POST /`: takes CloudEvents, and keeps note of what it refuses."""

from __future__ import annotations

import time

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


class Receiver:
    """Answers 202 once the events are stored, so nothing that was acknowledged is lost."""

    def __init__(self, settings: Settings, writer: Writer) -> None:
        self.max_body = settings.max_body
        self.max_batch = settings.max_batch
        self.writer = writer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        announced = content_length(scope)
        reserved = min(self.max_body if announced is None else announced, self.max_body)
        body = b""
        try:
            self.writer.reserve(reserved)
        except Overloaded:
            metrics.throttled.inc()
            reason = "more events are waiting to be stored than may wait; try again later"
            await respond_error(send, 429, reason, RETRY_AFTER)
            return
        try:
            body = await read_body(receive, self.max_body)
            events = cloudevents.parse(scope["headers"], body, self.max_batch)
            if events:
                await self.writer.store_events(events)
        except Invalid as error:
            await self._reject(scope, send, error.status, error.reason, body, len(body))
        except TooLarge as error:
            reason = f"the body is larger than {self.max_body} bytes"
            await self._reject(scope, send, 413, reason, b"", announced or error.size)
        except StoreError as error:
            await respond_error(send, 503, f"the event cannot be stored: {error}", RETRY_AFTER)
        else:
            await respond(send, 202)
        finally:
            self.writer.release(reserved)

    async def _reject(
        self, scope: Scope, send: Send, status: int, reason: str, body: bytes, size: int
    ) -> None:
        metrics.rejected.labels(str(status)).inc()
        client = scope.get("client") or ("",)
        self.writer.store_rejection(
            Rejection(
                received=rfc3339(time.time_ns() // 1_000_000),
                status=status,
                reason=reason[:1000],
                client=str(client[0]),
                headers=_telling_headers(scope),
                size=size,
                body=body[:KEPT_BODY].decode(errors="replace"),
            )
        )
        await respond_error(send, status, reason)


def _telling_headers(scope: Scope) -> dict[str, str]:
    """The headers that say something about the event; never those with credentials."""
    return {
        name.decode("latin-1"): value[:KEPT_VALUE].decode(errors="replace")
        for name, value in scope["headers"][:KEPT_HEADERS]
        if name.startswith((b"ce-", b"content-", b"user-agent"))
    }
