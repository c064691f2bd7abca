"""One request in five of every Google module is refused, lost, delayed, cut or failed.

A run ends right or with one clear sentence, `changed` is true to what happened, and the next run without
faults finishes the work. FAULT_ROUNDS is the number of rounds (`make soak` has more), FAULT_SEED repeats
a run: it is printed.
"""

from __future__ import annotations

import http.client
import http.server
import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.google import Google, google_sandbox, run_module
from support.google_cases import CASES, Case, done, everything, lasting

from ansible_collections.streamops.knative.plugins.module_utils._google import session

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "20"))
#: `make soak` tries others.
SEED = int(
    os.environ.get("FAULT_SEED")
    or (random.SystemRandom().randrange(10**6) if "FAULT_ROUNDS" in os.environ else 1)
)
SHARE = 0.2
TIMEOUT = 1.0  # seconds
READS = ("get", "list", "access", "batchGet", "getIamPolicy", "getServerConfig")
PAGE = b"<html><body>Please sign in.</body></html>"

pytestmark = pytest.mark.timeout(120 + 10 * ROUNDS)


class FaultyProxy:
    """Stands between a module and Google; spoils a share of the answers."""

    def __init__(self, url: str, rng: random.Random) -> None:
        self.faults: Counter[str] = Counter()
        self._rng = rng
        self._lock = threading.Lock()
        self._target = urlsplit(url).netloc
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                outer.handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one

            def log_message(self, *_: Any) -> None:
                """Keep quiet."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def handle(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        with self._lock:
            kinds = ("closed", "refused", "lost", "late", "cut", "short", "failed", "page")
            kind = self._rng.choice(kinds) if self._rng.random() < SHARE else ""
            status = self._rng.choice((500, 502, 503, 504, 429))
            self.faults[kind] += 1
        handler.close_connection = bool(kind)
        if kind == "closed":
            return
        if kind == "refused":
            error = {"error": {"code": status, "message": "Try later.", "status": "UNAVAILABLE"}}
            _send(handler, status if status in (429, 503) else 503, json.dumps(error).encode())
            return
        status_there, data = self._forward(handler, body)
        if kind == "lost":
            return
        if kind == "late":
            time.sleep(1.2 * TIMEOUT)
        if kind == "failed":
            _send(handler, status if status in (500, 502, 504) else 500, PAGE)
        elif kind == "page":
            _send(handler, 200, PAGE)
        elif kind == "cut":
            _send(handler, status_there, data[: len(data) // 2])
        elif kind == "short":
            _send(handler, status_there, data[: len(data) // 2], length=len(data))
        else:
            _send(handler, status_there, data)

    def _forward(
        self, handler: http.server.BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._target, timeout=30)
        names = ("Authorization", "Content-Type")
        headers = {name: handler.headers[name] for name in names if name in handler.headers}
        connection.request(handler.command, handler.path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, data

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _send(
    handler: http.server.BaseHTTPRequestHandler, status: int, data: bytes, length: int | None = None
) -> None:
    try:
        handler.send_response_only(status)
        handler.send_header("Content-Type", "text/html" if data == PAGE else "application/json")
        handler.send_header("Content-Length", str(len(data) if length is None else length))
        handler.end_headers()
        handler.wfile.write(data)
    except OSError:
        pass  # the client has given up


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_WAIT", "LONGEST_WAIT", "FIRST_POLL", "LONGEST_POLL"):
        monkeypatch.setattr(session, name, 0.01)


@contextmanager
def prepared(home: Path, case: Case) -> Iterator[Google]:
    """A stand-in in which the steps before the run were taken."""
    with google_sandbox(home) as google:
        for module, options in case.before:
            done(google, module, options)
        yield google


def check_result(result: dict[str, Any], before: Any, after: Any) -> None:
    """`changed` and the message are true to what happened."""
    if result.get("failed"):
        message = result["msg"]
        assert "exception" not in result, result
        assert "Traceback" not in message
        assert len(message) < 1000, message
        assert "\n" not in message.strip(), message
    assert result["changed"] is bool(result["changes"]) if "changes" in result else True, result
    if lasting(after) != lasting(before):
        assert result.get("changed") is True, result
    elif result.get("changed"):
        assert "not known" in result.get("msg", ""), result


def test_rounds_of_faults(tmp_path: Path) -> None:
    print(f"FAULT_SEED={SEED} FAULT_ROUNDS={ROUNDS}")
    rng = random.Random(SEED)
    counts: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    wanted: dict[str, Any] = {}
    for number in range(ROUNDS):
        name = list(CASES)[number % len(CASES)]
        case = CASES[name]
        if name not in wanted:
            with prepared(tmp_path / f"clean-{name}", case) as google:
                done(google, case.module, case.options)
                wanted[name] = lasting(everything(google))
        with prepared(tmp_path / f"round-{number}", case) as google:
            before = everything(google)
            proxy = FaultyProxy(google.url, rng)
            caller = {
                "project": google.options()["project"],
                "endpoint": proxy.url,
                "auth_kind": "accesstoken",
                "access_token": google.owner_token,
                "request_timeout": TIMEOUT,
                "request_retries": rng.choice((0, 1, 3, 5)),
            }
            result = run_module(case.module, {**caller, **case.options})
            proxy.close()
            faults.update(proxy.faults)
            told = f"round {number}, {name}, seed {SEED}: {dict(proxy.faults)}, {result}"
            try:
                check_result(result, before, everything(google))
                if not result.get("failed"):
                    assert lasting(everything(google)) == wanted[name]
                done(google, case.module, case.options)
                assert lasting(everything(google)) == wanted[name]
                assert google.run_quickly(case.module, **case.options)["changed"] is False
            except AssertionError as error:
                raise AssertionError(told) from error
            counts["failed" if result.get("failed") else "right"] += 1
    spoilt = sum(faults.values()) - faults[""]
    print(
        f"{ROUNDS} rounds, seed {SEED}: {counts['right']} right, {counts['failed']} with a message,"
        f" all finished by the next run; {spoilt} of {sum(faults.values())} answers spoilt"
        f" ({', '.join(f'{kind} {count}' for kind, count in sorted(faults.items()) if kind)})"
    )
    assert counts["right"]
