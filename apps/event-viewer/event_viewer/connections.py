"""Connections of clients: uvicorn's, with the limits that uvicorn leaves to a proxy.

None of this can be set in uvicorn 0.54, and the viewer has to stand without a proxy before it:
bounds of a request's head, of pipelined requests, of the time a request takes to arrive and an
answer to be read, of the number of connections, and of what each of them buffers.
"""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

if TYPE_CHECKING:
    from starlette.types import Scope

    from event_viewer.application import Application

#: Bytes of a request's head: the request line and all headers.
MAX_HEAD_BYTES = 32 << 10
MAX_HEADERS = 100
#: Bytes of requests that wait for the answer to an earlier one on the same connection.
MAX_PIPELINED_BYTES = 16 << 10
MAX_PIPELINED = 16
#: When there are too many connections, one in so many is closed.
EVICTED_SHARE = 50
#: Unread bytes of answers from which on the application waits for the client.
WRITE_BUFFER_BYTES = 16 << 10


class _Refused(Exception):
    """Stops the parser after a request was refused."""


class Connection(HttpToolsProtocol):
    """Connection of one client."""

    app: Application
    scope: Scope  # type: ignore[assignment] # uvicorn has a type of its own
    cycle: RequestResponseCycle | None  # type: ignore[assignment] # None before the first request
    #: The request that is being answered; `cycle` is the last one that arrived.
    answering: RequestResponseCycle | None = None
    #: When the request that is arriving began; None between requests.
    began: float | None = None
    #: When the last request was complete, or the connection made.
    idle_since = 0.0
    #: Bytes of the head that is arriving; None while a body does.
    head: int | None = 0
    #: Bytes of requests in the pipeline.
    pipelined = 0
    #: Bytes the client has yet to read of its answers, and when it last read some.
    unread = 0
    read_at = 0.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn
        """Make room for the connection when there are too many."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(WRITE_BUFFER_BYTES)
        self.began = self.read_at = self.idle_since = self.loop.time()
        self._check_progress()
        if len(self.connections) > self.app.settings.max_connections:
            self._evict_others()

    def _evict_others(self) -> None:
        """Close the connections that have been of no use for the longest time.

        Some at once, since looking for them takes a while when there are many.
        """
        now = self.loop.time()
        others: list[Any] = [one for one in self.connections if one is not self]
        useless = [(order, id(one), one) for one in others if (order := one.eviction_order(now))]
        if not useless:
            self._refuse(b"503 Service Unavailable")
        for _, _, victim in heapq.nsmallest(1 + len(others) // EVICTED_SHARE, useless):
            self.connections.discard(victim)
            victim.abort()

    def eviction_order(self, now: float) -> tuple[int, float] | None:
        """Return what sorts idle connections first, then slow requests, then slow readers.

        None means that the connection is in use.
        """
        if self.transport.is_closing():
            return 0, 0
        if self.is_idle() and self.began is None:
            return 0, self.idle_since
        if self.began is not None:
            return 1, self.began
        if self.transport.get_write_buffer_size() and now - self.read_at > 1:
            return 2, self.read_at
        return None

    def is_idle(self) -> bool:
        """Return whether no request is being answered."""
        return not self.pipeline and (self.cycle is None or self.cycle.response_complete)

    def abort(self) -> None:
        """Close at once, also where answers have not been read."""
        self._end_answer()
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer and the answer."""
        if self._timer:
            self._timer.cancel()
        self._end_answer()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.answering = cycle
        super()._start_asgi_task(cycle, app)

    def _end_answer(self) -> None:
        """Tell the application that the client is gone; uvicorn tells the last request only."""
        if self.answering is not None and not self.answering.response_complete:
            self.answering.disconnected = True
            self.answering.message_event.set()
            self.flow.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Bound the time a request takes to arrive, and the size of its head."""
        if self.transport.is_closing():
            return
        if self.began is None:
            self.began = self.loop.time()
        if self.head is not None:
            self.head += len(data)
            if self.head > MAX_HEAD_BYTES + len(data):
                self._refuse(b"431 Request Header Fields Too Large")
                return
        super().data_received(data)
        if self.head is None and len(self.headers) > MAX_HEADERS:
            self._refuse(b"431 Request Header Fields Too Large")

    def on_headers_complete(self) -> None:
        """Refuse a request whose head is not acceptable."""
        size = self.head or 0
        waits = not self.is_idle()
        if waits or size > MAX_HEAD_BYTES:  # what was counted may hold more than this head
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS:
            self._refuse(b"431 Request Header Fields Too Large")
            raise _Refused
        hosts = [name for name, _ in self.headers if name == b"host"]
        if len(hosts) != 1 and (hosts or self.parser.get_http_version() != "1.0"):
            self._refuse(b"400 Bad Request")  # RFC 9112, 3.2
            raise _Refused
        self.head = None
        super().on_headers_complete()
        # Trailers, which uvicorn adds to the headers of a request that is being served.
        self.headers = []
        if waits:
            self._count_pipelined(size)

    def _count_pipelined(self, size: int) -> None:
        self.pipelined += size
        if self.pipelined > MAX_PIPELINED_BYTES or len(self.pipeline) > MAX_PIPELINED:
            self.abort()
            raise _Refused

    def on_body(self, body: bytes) -> None:
        """Bound the body of a request that is not being read."""
        super().on_body(body)
        # It is kept for as long as an earlier answer, or the one to a GET, is not read.
        if self.pipeline or self.scope["method"] in ("GET", "HEAD"):
            self._count_pipelined(len(body))

    def on_message_complete(self) -> None:
        """Note that the request has arrived in time."""
        self.began = None
        self.idle_since = self.loop.time()
        self.head = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that does not parse, unless its refusal was the reason."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def on_response_complete(self) -> None:
        """Note that the pipeline is empty, if it is."""
        if not self.pipeline:
            self.pipelined = 0
        super().on_response_complete()

    def shutdown(self) -> None:
        """End the streams, which would never end by themselves."""
        self.app.end_streams()
        super().shutdown()

    def _check_progress(self) -> None:
        """End a request that arrives too slowly, and an answer that is not read."""
        limit, now = self.app.settings.request_timeout_seconds, self.loop.time()
        unread = self.transport.get_write_buffer_size()
        if not unread or unread < self.unread:
            self.read_at = now
        self.unread = unread
        if now - self.read_at > limit:
            self.abort()
            return
        if self.began is not None and now - self.began > limit and not self.transport.is_closing():
            self._refuse(b"408 Request Timeout")
        self._timer = self.loop.call_later(limit / 4, self._check_progress)

    def _refuse(self, status: bytes) -> None:
        """Answer, unless another answer is being sent, and close."""
        answering = self.answering
        if answering is None or not answering.response_started or answering.response_complete:
            head = [b"HTTP/1.1 ", status, b"\r\n"]
            for name, value in self.server_state.default_headers:
                head += (name, b": ", value, b"\r\n")
            head.append(b"content-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.write(b"".join(head))
        self.transport.close()
