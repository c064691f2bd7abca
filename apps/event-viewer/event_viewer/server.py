"""gunicorn with uvicorn's worker: the processes that serve the application."""

from __future__ import annotations

import socket
from typing import Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped] # has no types
from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped] # has no types

from event_viewer.application import Application
from event_viewer.connections import Connection
from event_viewer.settings import Settings

#: Of the page's connections; the oldest idle one is closed earlier when there are too many.
KEEP_ALIVE_SECONDS = 75
#: Of a connection, in each direction; the kernel takes twice as much.
SOCKET_BUFFER_BYTES = 64 << 10
#: Sent with every answer.
SECURITY_HEADERS = {
    # Nothing runs or loads but the page's own files; an event's markup is only ever text.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Worker(UvicornWorker):
    """uvicorn's worker process for gunicorn, with our connections."""

    CONFIG_KWARGS = {  # noqa: RUF012 - as declared there
        "http": Connection,
        "loop": "uvloop",
        "ws": "none",
        "lifespan": "on",
        "headers": list(SECURITY_HEADERS.items()),
        "access_log": False,
        "server_header": False,
        # Users and addresses are believed by the rules in auth.py.
        "proxy_headers": False,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config.timeout_graceful_shutdown = self.cfg.graceful_timeout
        # Else the kernel would buffer megabytes for each client that does not read, in the memory
        # of the container. Every connection takes this over.
        for listener in self.sockets:
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                listener.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)


class Server(BaseApplication):
    """gunicorn with our settings instead of its own command line."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Translate our settings into gunicorn's."""
        settings = self.settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        ports = [settings.port, *([settings.trigger_port] if settings.trigger_port else [])]
        for name, value in {
            "bind": [f"{host}:{port}" for port in ports],
            "workers": settings.workers,
            "worker_class": Worker,
            "keepalive": KEEP_ALIVE_SECONDS,
            "graceful_timeout": settings.shutdown_grace_seconds,
            "control_socket_disable": True,
            "loglevel": settings.log_level.lower(),
            "proc_name": "event-viewer",
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Application:
        """Return the application, made in each worker process."""
        return Application(self.settings)
