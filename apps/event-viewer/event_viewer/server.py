"""gunicorn, started from Python, with its asyncio worker and what that leaves open: limits."""

from __future__ import annotations

import asyncio
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers.gasgi import ASGIWorker

from event_viewer.app import Application
from event_viewer.settings import Settings

SWEEP_SECONDS = 1.0
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)


class Protocol(ASGIProtocol):
    """A connection that has to deliver each request in time."""

    worker: Worker
    #: When the request that is coming in began; None between requests.
    began: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuse the connection when there are too many."""
        super().connection_made(transport)
        self.worker.connections.add(self)
        self.began = self.worker.loop.time()
        if self.worker.nr_conns > self.worker.cfg.worker_connections:
            self.transport.write(BUSY)
            self._close_transport()

    def data_received(self, data: bytes) -> None:
        """Start the clock with a request's first byte."""
        if self.began is None:
            self.began = self.worker.loop.time()
        super().data_received(data)

    def _on_message_complete(self) -> None:
        self.began = None
        super()._on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self.worker.connections.discard(self)
        super().connection_lost(exc)

    def end_if_late(self, deadline: float) -> None:
        """Give up on a request that has been coming in since before `deadline`."""
        if self.began is not None and self.began < deadline:
            self._close_transport()


class Worker(ASGIWorker):
    """gunicorn's asyncio worker with a time limit for requests and an end for streams."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connections: set[Protocol] = set()

    def handle_exit_signal(self) -> None:
        """On SIGTERM let the streams go: they would not end by themselves."""
        super().handle_exit_signal()
        self.asgi.end_streams()
        for connection in list(self.connections):
            if connection.began is None and connection._awaiting_request:
                connection._close_transport()

    async def _serve(self) -> None:
        sweeper = self.loop.create_task(self._sweep())
        try:
            await super()._serve()
        finally:
            sweeper.cancel()

    async def _sweep(self) -> None:
        """Close connections whose request takes too long to arrive (slowloris)."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            deadline = self.loop.time() - self.asgi.settings.request_timeout
            for connection in list(self.connections):
                connection.end_if_late(deadline)


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
            "worker_connections": settings.max_connections,
            "http_parser": "auto",  # gunicorn_h1c, written in C, where it is installed
            "keepalive": 75,
            "graceful_timeout": settings.shutdown_grace,
            "timeout": 30,
            "asgi_disconnect_grace_period": 0,
            "limit_request_fields": 64,
            "limit_request_field_size": 8190,
            "limit_request_line": 8190,
            "forwarded_allow_ips": ",".join(map(str, settings.trusted_proxies)) or "127.0.0.1,::1",
            "control_socket_disable": True,
            "loglevel": settings.log_level.lower(),
            "proc_name": "event-viewer",
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Application:
        """The application, made in each worker process."""
        return Application(self.settings)
