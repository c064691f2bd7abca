"""A proxy in front of an API server that spoils a share of its answers."""

from __future__ import annotations

import base64
import http.client
import http.server
import json
import random
import ssl
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from support.http_server import serving

Answer = tuple[int, dict[str, str], bytes]
PAGE = (502, {"Content-Type": "text/html"}, b"<html><h1>Bad Gateway</h1></html>")
DELAY = 1.5  # seconds; longer than the request timeout that tests use


def status(code: int, reason: str, message: str, **headers: str) -> Answer:
    """An answer of the API server's own."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return code, {"Content-Type": "application/json", **headers}, json.dumps(body).encode()


BUSY = status(429, "TooManyRequests", "too many requests", **{"Retry-After": "0"})
AWAY = status(503, "ServiceUnavailable", "apiserver is shutting down")
LEADER = status(500, "InternalError", "etcdserver: leader changed")
LATE = status(504, "Timeout", "etcdserver: request timed out")

#: Before the request is carried out, and after it: a fault's name and what comes instead of the answer.
BEFORE: dict[str, Answer | None] = {"dropped": None, "429": BUSY, "503": AWAY, "502 page": PAGE}
AFTER: dict[str, Answer | None] = {
    "answer dropped": None,
    "answer truncated": None,
    "answer delayed": None,
    "500 etcd": LEADER,
    "504 etcd": LATE,
}
Choice = Callable[[str, str], str]  # method and path to the name of a fault, "" for none


class Faults:
    """Chooses a fault for a share of the requests, the same for the same seed."""

    def __init__(self, seed: int, share: float) -> None:
        self._random = random.Random(seed)
        self._share = share
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()

    def __call__(self, method: str, path: str) -> str:
        with self._lock:
            if self._random.random() >= self._share:
                return ""
            # Delays are slow to test.
            names = [*BEFORE, *AFTER]
            weights = [0.1 if name == "answer delayed" else 1.0 for name in names]
            (name,) = self._random.choices(names, weights)
            self.counts[name] += 1
            return name


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    forward: Callable[[http.server.BaseHTTPRequestHandler, bytes], Answer]
    choice: Choice

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = type(self).choice(self.command, self.path)
        if fault in BEFORE:
            instead = BEFORE[fault]
        else:
            answer = type(self).forward(self, body)
            instead = AFTER.get(fault) or (None if fault in AFTER else answer)
            if fault == "answer delayed":
                time.sleep(DELAY)
                instead = answer
            if fault == "answer truncated":
                self._send(answer, cut=True)
                return
        if instead is None:
            self.close_connection = True
            return
        self._send(instead)

    def _send(self, answer: Answer, *, cut: bool = False) -> None:
        code, headers, data = answer
        try:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if cut else data)
        except OSError:  # the client has given up
            cut = True
        self.close_connection = self.close_connection or cut

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def log_message(self, *_args: Any) -> None:
        pass


@contextmanager
def faulty(kubeconfig: Path, choice: Choice) -> Iterator[str]:
    """The URL of a proxy on plain HTTP that answers as the cluster's administrator would be."""
    document = yaml.safe_load(kubeconfig.read_text())
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    address = urlsplit(cluster["server"])
    context = ssl.create_default_context(
        cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
    )
    if "client-certificate-data" in user:
        with tempfile.NamedTemporaryFile() as file:
            for key in ("client-certificate-data", "client-key-data"):
                file.write(base64.b64decode(user[key]) + b"\n")
            file.flush()
            context.load_cert_chain(file.name)
    token = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
    dropped = ("host", "authorization", "content-length", "connection")

    def forward(request: http.server.BaseHTTPRequestHandler, body: bytes) -> Answer:
        upstream = http.client.HTTPSConnection(
            address.hostname or "", address.port, context=context, timeout=30
        )
        headers = {k: v for k, v in request.headers.items() if k.lower() not in dropped}
        upstream.request(request.command, request.path, body=body or None, headers=headers | token)
        answer = upstream.getresponse()
        kept = ("content-type", "warning", "retry-after")
        found = {k: v for k, v in answer.getheaders() if k.lower() in kept}
        data = answer.read()
        upstream.close()
        return answer.status, found, data

    handler = type(
        "Handler",
        (_Handler,),
        {"forward": staticmethod(forward), "choice": staticmethod(choice)},
    )
    with serving(handler) as server:
        yield f"http://127.0.0.1:{server.server_port}"
