"""HTTP beneath the routes: bounded bodies of requests, answers in small parts, errors as JSON."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from event_viewer.store.interface import StoreError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

log = logging.getLogger(__name__)

#: Bytes an answer is read, held and sent by. Beside what the transport buffers, this is all that
#: a client that does not read can keep in memory.
PART_BYTES = 32 << 10
#: Of a body that is too large this much is read and thrown away, since a client that is still
#: sending does not look at the answer.
DRAIN_BYTES = 64 << 20
RETRY_AFTER = ((b"retry-after", b"1"),)

Headers = tuple[tuple[bytes, bytes], ...]


class Problem(Exception):
    """Answer that is an error: its status, the reason for the client, further headers."""

    def __init__(self, status: int, reason: str, headers: Headers = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers


class Disconnected(Exception):
    """The client has closed the connection; nothing can be answered."""


class Room:
    """Bytes of request bodies and unstored events that may be in memory at a time."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0

    def take(self, size: int) -> bool:
        """Reserve `size` bytes, to be given back; return whether there is room for them."""
        if self.used + size > self.size:
            return False
        self.used += size
        return True

    def give_back(self, size: int) -> None:
        """Release what `take` reserved."""
        self.used -= size


class Body:
    """Body of one request, which holds its bytes' room until `release`."""

    def __init__(self, room: Room, limit: int) -> None:
        self.room = room
        self.limit = limit
        self.held = 0

    async def read(self, receive: Receive) -> bytes:
        """Return the complete body.

        Raises:
            Problem: 413 when it is larger than the limit, 429 when there is no room for it.
            Disconnected: The client left before it was complete.
        """
        parts: list[bytes] = []
        size, more, full = 0, True, False
        while more and size < DRAIN_BYTES:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            part, more = message["body"], message["more_body"]
            size += len(part)
            full = full or not (size > self.limit or self._hold(len(part)))
            if full or size > self.limit:
                parts.clear()
                if full:
                    break
            else:
                parts.append(part)
        if full:
            raise Problem(429, "overloaded; try again later", RETRY_AFTER)
        if size > self.limit:
            raise Problem(413, f"the body is larger than {self.limit} bytes")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _hold(self, size: int) -> bool:
        if not self.room.take(size):
            return False
        self.held += size
        return True

    def release(self) -> None:
        """Give the room back."""
        self.room.give_back(self.held)
        self.held = 0


class Answer:
    """Complete small answer."""

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        content_type: str = "application/json",
        headers: Headers = (),
    ) -> None:
        self.status = status
        self.body = body
        self.headers: list[tuple[bytes, bytes]] = [*headers]
        if status != 304:
            self.headers.append((b"content-length", b"%d" % len(body)))
        if body:
            self.headers.append((b"content-type", content_type.encode()))

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        for start in range(0, len(self.body) - PART_BYTES, PART_BYTES):
            await send_part(send, self.body[start : start + PART_BYTES])
        rest = len(self.body) % PART_BYTES or PART_BYTES
        await send({"type": "http.response.body", "body": self.body[-rest:]})


class StreamedAnswer:
    """Answer of unknown length, whose parts are made as fast as the client takes them."""

    def __init__(
        self, parts: AsyncIterator[bytes], content_type: str, headers: Headers = ()
    ) -> None:
        self.parts = parts
        self.headers = [(b"content-type", content_type.encode()), *headers]

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        try:
            async for part in self.parts:
                await send_part(send, part)
        except (Problem, StoreError) as error:
            log.info("an answer cannot be completed: %s", error)
            raise Disconnected from None
        await send({"type": "http.response.body", "body": b""})


async def send_part(send: Send, part: bytes) -> None:
    """Send a part of a body, and return once the client has taken enough for another one."""
    await send({"type": "http.response.body", "body": part, "more_body": True})
    # The server lets the next message wait until its buffer has room.
    await send({"type": "http.response.body", "body": b"", "more_body": True})


def json_answer(value: Any, status: int = 200, headers: Headers = ()) -> Answer:
    """Return an answer with a value as JSON."""
    return Answer(status, msgspec.json.encode(value), headers=headers)


def error_answer(status: int, reason: str, headers: Headers = ()) -> Answer:
    """Return the answer `{"error": reason}`."""
    return json_answer({"error": reason}, status, headers)


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes:
    """Return a request header's first value, or nothing."""
    for key, value in headers:
        if key == name:
            return value
    return b""
