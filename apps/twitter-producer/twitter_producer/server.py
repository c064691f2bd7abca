"""Health, metrics, status and the probe over HTTP."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from twitter_producer.metrics import Metrics

log = logging.getLogger(__name__)

_LONGEST_BODY = 4096


class Observed(Protocol):
    """What the server shows of the producer."""

    @property
    def trouble(self) -> str | None:
        """Why the process should be restarted; None: it lives."""
        ...

    @property
    def starting(self) -> str | None:
        """What the producer still waits for before it works; None: it is ready."""
        ...

    def status(self) -> dict[str, Any]:
        """Return what people want to know."""
        ...

    def probe(self, event_id: str) -> tuple[int, dict[str, Any]]:
        """Send one recognisable event; return the HTTP status and body to answer with."""
        ...


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep the log to JSON: a client that hangs up is no trouble."""
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
        timeout = 10
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
                body = json.loads(self.rfile.read(length)) if 0 < length <= _LONGEST_BODY else {}
                event_id = body["id"]
                if not isinstance(event_id, str) or not event_id:
                    raise ValueError("id is no text")
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
            text = json.dumps(body, default=str, ensure_ascii=False)
            self._send(status, "application/json", text.encode() + b"\n")

        def _send(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: probes come every few seconds."""

    return Handler
