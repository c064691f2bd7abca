"""`python -m event_viewer`: serve until SIGTERM."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile

import uvicorn
from uvicorn.supervisors import Multiprocess

from event_viewer.settings import SettingsError, load
from event_viewer.store import open_store
from event_viewer.store.interface import StoreError

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


def main() -> int:
    """Run the viewer; return 2 when its settings are wrong, 1 when it cannot start."""
    try:
        settings = load()
    except SettingsError as error:
        for problem in error.problems:
            print(f"event-viewer: {problem}", file=sys.stderr)
        return 2
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    with tempfile.TemporaryDirectory(prefix="event-viewer-") as folder:
        # Read by this process or, with several workers, by those it starts.
        if settings.workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        if not settings.store:
            os.environ["STORE"] = f"{folder}/events.sqlite"
        config = uvicorn.Config(
            "event_viewer.application:create",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            http="event_viewer.connections:Connection",
            loop="uvloop",
            ws="none",
            lifespan="on",
            headers=list(SECURITY_HEADERS.items()),
            log_config=None,
            log_level=settings.log_level.lower(),
            access_log=False,
            server_header=False,
            # Users and addresses are believed by the rules in auth.py.
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=settings.shutdown_grace_seconds,
            timeout_worker_healthcheck=30,
        )
        server = uvicorn.Server(config)
        listener = config.bind_socket()
        # Else the kernel would buffer megabytes for each client that does not read, in the memory
        # of the container. Every connection takes this over.
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            listener.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
        # uvicorn raises the signals again that made it stop, which would be the exit status.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        if settings.workers > 1:
            try:
                open_store(load()).close()  # else the workers would be started again and again
            except StoreError as error:
                print(f"event-viewer: {error}", file=sys.stderr)
                return 1
            Multiprocess(config, [listener]).run()
            return 0
        with contextlib.suppress(SystemExit):  # the reason has been logged
            server.run([listener])
        return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
