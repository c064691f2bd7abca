"""HTTP servers on a thread of the test."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@contextmanager
def serving(
    handler: type[http.server.BaseHTTPRequestHandler],
    certificate: Path | None = None,
    port: int = 0,
) -> Iterator[Any]:
    """A server for the duration of a `with`; over TLS with a certificate, a file with its key in it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


#: Status, headers and body; None closes the connection.
Answer = tuple[int, dict[str, str], bytes] | None
#: Makes the answer from method, path, headers and body.
Answering = Callable[[str, str, dict[str, str], bytes], Answer]


@dataclass
class AnsweringServer:
    """A server whose answers a function makes, and what it was asked for."""

    host: str
    answer: Answering
    asked: list[str]

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self.host}"


@contextmanager
def answering(answer: Answering) -> Iterator[AnsweringServer]:
    """A server whose answers a function makes, which can be replaced meanwhile."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer_one(self) -> None:
            running.asked.append(f"{self.command} {self.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found = running.answer(self.command, self.path, dict(self.headers), body)
            if found is None:
                self.close_connection = True
                return
            status, headers, data = found
            self.send_response_only(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer_one

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    with serving(Handler) as server:
        running = AnsweringServer(f"127.0.0.1:{server.server_port}", answer, [])
        yield running
