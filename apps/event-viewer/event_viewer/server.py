"""gunicorn, started from Python, with uvicorn's worker and the limits that leaves open."""

from __future__ import annotations

import asyncio
from typing import Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped] # has no types
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped] # has no types

from event_viewer.app import Application
from event_viewer.intake import Intake
from event_viewer.settings import Settings

#: Bytes of a request's head: the request line and all headers.
MAX_HEAD = 32 * 1024
MAX_HEADERS = 100
KEEP_ALIVE_SECONDS = 75


class Protocol(HttpToolsProtocol):
    """A connection whose requests may only be so large, and take only so long to arrive."""

    app: Application
    scope: Any  # ASGI's
    cycle: Any  # uvicorn's, or an Intake
    #: When the request that is coming in began; None between requests.
    began: float | None = None
    #: Bytes of its head so far; None once the head is complete.
    head: int | None = 0
    #: The event that is coming in.
    intake: Intake | None = None
    #: Bytes the client has yet to take of its answers, and when it last took some.
    waiting = 0
    taken = 0.0
    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn
        """Refuse the connection when there are too many."""
        super().connection_made(transport)
        self.began = self.taken = self.loop.time()
        self._look_at_clock()
        if len(self.connections) > self.app.settings.max_connections:
            self._refuse(b"503 Service Unavailable")

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        if self._clock:
            self._clock.cancel()
        if self.intake is not None:  # its body never came
            self.intake.release()
            self.intake = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Start the clock with a request's first byte; refuse a head that does not end."""
        if self.transport.is_closing():
            return
        if self.began is None:
            self.began = self.loop.time()
        if self.head is not None:
            self.head += len(data)
            if self.head > MAX_HEAD + len(data):
                self._refuse(b"431 Request Header Fields Too Large")
                return
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Refuse a head that is too large even though it came in one piece."""
        if self.transport.is_closing():
            return
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD or len(self.headers) > MAX_HEADERS:
            self._refuse(b"431 Request Header Fields Too Large")
            return
        self.head = None
        if self.url == b"/" and self.parser.get_method() == b"POST" and self._is_idle():
            self.intake = Intake.start(self)
            if self.intake is not None:
                self.cycle = self.intake
                return
        super().on_headers_complete()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def on_body(self, body: bytes) -> None:
        """Take no more of a request that was refused."""
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request has arrived in time."""
        if self.transport.is_closing():
            return
        self.began = None
        self.head = 0
        super().on_message_complete()
        if self.intake is not None and self.cycle is self.intake:
            intake, self.intake = self.intake, None
            intake.complete()

    def shutdown(self) -> None:
        """End the streams, which would never end by themselves."""
        self.app.end_streams()
        super().shutdown()

    def _look_at_clock(self) -> None:
        """Give up on a request that comes in too slowly (slowloris), and on who takes no answer."""
        limit, now = self.app.settings.request_timeout, self.loop.time()
        waiting = self.transport.get_write_buffer_size()
        if not waiting or waiting < self.waiting:
            self.taken = now
        self.waiting = waiting
        if now - self.taken > limit:
            self.transport.abort()
            return
        if self.began is not None and now - self.began > limit and not self.transport.is_closing():
            self._refuse(b"408 Request Timeout")
        self._clock = self.loop.call_later(limit / 4, self._look_at_clock)

    def _refuse(self, status: bytes) -> None:
        """Answer, unless another answer is on its way already, and close."""
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            head = b"HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            self.transport.write(head % status)
        self.transport.close()


class Worker(UvicornWorker):
    """uvicorn's worker process for gunicorn, with our protocol."""

    CONFIG_KWARGS = {  # noqa: RUF012 - as declared there
        "http": Protocol,
        "loop": "auto",  # uvloop
        "ws": "none",
        "lifespan": "on",
        "access_log": False,
        "server_header": False,
        # TRUSTED_PROXIES is about the address a request really came from.
        "proxy_headers": False,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config.timeout_graceful_shutdown = self.cfg.graceful_timeout


class Server(BaseApplication):
    """gunicorn with our settings instead of its own command line."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Translate our settings into gunicorn's."""
        settings = self.settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        for name, value in {
            "bind": f"{host}:{settings.port}",
            "workers": settings.workers,
            "worker_class": Worker,
            "keepalive": KEEP_ALIVE_SECONDS,
            "graceful_timeout": settings.shutdown_grace,
            "control_socket_disable": True,
            "loglevel": settings.log_level.lower(),
            "proc_name": "event-viewer",
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Application:
        """The application, made in each worker process."""
        return Application(self.settings)
