"""Health, metrics, status and the probe over HTTP."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from twitter_producer import json_text
from twitter_producer.metrics import Metrics

log = logging.getLogger(__name__)

_LONGEST_BODY = 4096
_LONGEST_ID = 256
#: Requests served at once; beyond them connections are closed, so that idle ones cost no memory.
_MOST_CLIENTS = 32


class Observed(Protocol):
    """What the server shows of the producer."""

    @property
    def trouble(self) -> str | None:
        """Reason why the process should be restarted, if any."""
        ...

    @property
    def starting(self) -> str | None:
        """What the producer waits for before it is ready, if anything."""
        ...

    def status(self) -> dict[str, Any]:
        """Return the state for people."""
        ...

    def probe(self, event_id: str) -> tuple[int, dict[str, Any]]:
        """Send one recognisable event; return the HTTP status and body to answer with."""
        ...


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)
        self._places = threading.BoundedSemaphore(_MOST_CLIENTS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, where there is a place for one."""
        if not self._places.acquire(blocking=False):
            log.warning("too many connections: one is closed")
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, then free its place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep the log to JSON: clients may hang up."""
        log.debug("a request was broken off", exc_info=True)


class Server:
    """Serves on its own threads until closed."""

    def __init__(
        self, host: str, port: int, observed: Observed, metrics: Metrics, *, probe: bool
    ) -> None:
        self._server = _Server((host, port), _handler(observed, metrics, probe=probe))
        self.port: int = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 5}, daemon=True
        ).start()

    def close(self) -> None:
        """Take no further connections."""
        self._server.socket.close()


def _handler(observed: Observed, metrics: Metrics, *, probe: bool) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 2
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            routes: dict[str, Callable[[], None]] = {
                "/healthz": lambda: self._say(observed.trouble),
                "/readyz": lambda: self._say(observed.starting),
                "/metrics": self._metrics,
                "/status": lambda: self._json(200, observed.status()),
                "/": lambda: self._json(200, observed.status()),
            }
            routes.get(self.path.partition("?")[0], self._missing)()

        def do_POST(self) -> None:
            if self.path != "/probe" or not probe:
                self.close_connection = True
                self._missing()
                return
            try:
                length = int(self.headers.get("Content-Length") or 0)
                content = self.rfile.read(length) if 0 < length <= _LONGEST_BODY else b"{}"
                event_id = json_text.decode(content)["id"]
                if not (isinstance(event_id, str) and 0 < len(event_id) <= _LONGEST_ID):
                    raise ValueError("id is not a short text")
                if not event_id.isprintable():
                    raise ValueError("id contains control characters")
            except (ValueError, KeyError, TypeError, AttributeError):
                self.close_connection = True
                self._json(400, {"message": 'send JSON like {"id": "my-probe-1"}'})
                return
            self._json(*observed.probe(event_id))

        def _say(self, problem: str | None) -> None:
            self._send(503 if problem else 200, "text/plain", (problem or "ok").encode() + b"\n")

        def _metrics(self) -> None:
            self._send(200, CONTENT_TYPE_LATEST, generate_latest(metrics.registry))

        def _missing(self) -> None:
            self._json(404, {"message": "there are /healthz, /readyz, /metrics, /status, /probe"})

        def _json(self, status: int, body: dict[str, Any]) -> None:
            self._send(status, "application/json", json_text.encode_any(body) + b"\n")

        def _send(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: probes come every few seconds."""

    return Handler
