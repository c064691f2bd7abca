"""The short way of an event: from uvicorn's parser to the receiver, without a task or ASGI.

It saves between a fifth and almost half of an event's CPU time. Only the ordinary case takes it: a
small `POST /` of known length by somebody who may write; all else goes uvicorn's own way to the
same receiver, so answers do not depend on it. uvicorn treats an Intake as the request-response
cycle it would have made, which is why requirements.txt pins uvicorn.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

from event_viewer.receiver import Answer

if TYPE_CHECKING:
    from event_viewer.server import Protocol

#: Above this uvicorn stops reading until the body has been taken.
MAX_INTAKE = 64 * 1024
STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
CLOSE = b"connection: close\r\n"


class Intake:
    """One `POST /`, from its headers to its answer."""

    def __init__(self, protocol: Protocol, size: int) -> None:
        self.protocol = protocol
        self.size = size
        # What uvicorn reads and sets:
        self.body = bytearray()
        self.more_body = True
        self.keep_alive = True
        self.disconnected = False
        self.response_started = False
        self.response_complete = False
        self.message_event = _NOBODY_WAITS

    @classmethod
    def start(cls, protocol: Protocol) -> Intake | None:
        """The intake of the request whose headers are complete; None when it is not ordinary."""
        size = -1
        for name, value in protocol.headers:
            if name == b"content-length":
                size = int(value)
            elif name in (b"transfer-encoding", b"upgrade"):
                return None
        parser = protocol.parser
        if (
            not 0 <= size <= MAX_INTAKE
            or protocol.expect_100_continue
            or not parser.should_keep_alive()
            or not protocol.app.may_post(protocol.scope)
            or not protocol.app.receiver.reserve(size)
        ):
            return None
        return cls(protocol, size)

    def complete(self) -> None:
        """The body is there: hand it over."""
        self.protocol.app.receiver.take(self.protocol.scope, bytes(self.body), self.answer)

    def answer(self, answer: Answer) -> None:
        """Write the answer, and let the connection go on with its next request."""
        self.release()
        self.response_started = self.response_complete = True
        protocol = self.protocol
        if self.disconnected or protocol.transport.is_closing():
            return
        body = msgspec.json.encode({"error": answer.reason}) if answer.reason else b""
        head = [STATUS_LINES[answer.status]]
        for name, value in (*protocol.server_state.default_headers, *answer.headers):
            head += (name, b": ", value, b"\r\n")
        if body:
            head.append(b"content-type: application/json\r\n")
        if not self.keep_alive:
            head.append(CLOSE)
        head.append(b"content-length: %d\r\n\r\n" % len(body))
        protocol.transport.write(b"".join(head) + body)
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()

    def release(self) -> None:
        """Give back the room taken, once."""
        size, self.size = self.size, 0
        self.protocol.app.receiver.release(size)


class _Unwaited(asyncio.Event):
    """uvicorn tells its cycle's task of news; an intake has no task."""

    def set(self) -> None:
        pass


_NOBODY_WAITS = _Unwaited()
