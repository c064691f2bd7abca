"""The little of HTTP that is done outside of Flask: reading a bounded body, answering."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: Of a body that is too large this much is read and thrown away, since a client that is still
#: sending does not look at the answer.
DRAIN = 64 << 20


class TooLarge(Exception):
    """A body longer than allowed; `size` is what it says or what was read of it."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class Disconnected(Exception):
    """The client is gone; there is nobody to answer."""


def header(scope: Scope, name: bytes) -> str:
    """A request header's value, or nothing."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""


def content_length(scope: Scope) -> int | None:
    """The length the request announces; None when it does not. The server has checked it."""
    text = header(scope, b"content-length")
    return int(text) if text else None


async def read_body(receive: Receive, limit: int) -> bytes:
    """A request's body; raises TooLarge beyond `limit` bytes, and Disconnected."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    body: bytes = message["body"]
    if not message["more_body"] and len(body) <= limit:
        return body
    parts, size = [body], len(body)
    while message["more_body"] and size < DRAIN:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        size += len(message["body"])
        if size <= limit:
            parts.append(message["body"])
        else:
            parts.clear()
    if size > limit:
        raise TooLarge(size)
    return b"".join(parts)


async def respond(
    send: Send,
    status: int,
    body: bytes = b"",
    content_type: str = "application/json",
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> None:
    """Answer a request."""
    fields = [(b"content-length", b"%d" % len(body)), *headers]
    if body:
        fields.append((b"content-type", content_type.encode()))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def respond_error(
    send: Send, status: int, reason: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    """Answer `{"error": reason}`."""
    await respond(send, status, msgspec.json.encode({"error": reason}), headers=headers)
