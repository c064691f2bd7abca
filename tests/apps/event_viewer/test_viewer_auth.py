"""Who may read, write and replay."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import pytest
from apps.event_viewer.viewer_support import PATIENCE, Start, Viewer, running, wait_until
from support.http_server import serving
from support.ports import free_port

Make = Callable[..., dict[str, Any]]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@contextlib.contextmanager
def sink(status: int = 200, location: str = "") -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A sink; yields its URL and the events it gets."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append({"type": self.headers["content-type"], "event": json.loads(body)})
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with serving(Handler) as server:
        yield f"http://127.0.0.1:{server.server_port}/sink", got


def test_triggers_have_a_port_that_asks_for_no_token(start: Start, event: Make) -> None:
    """A Knative Trigger cannot send one. Nothing else is open there."""
    port = free_port()
    viewer = start(TRIGGER_PORT=port, READ_TOKEN="r" * 16, WRITE_TOKEN="w" * 16)
    triggers = dataclasses.replace(viewer, url=f"http://127.0.0.1:{port}")
    assert viewer.send(event(1)).status_code == 401
    assert triggers.send(event(2)).status_code == 202
    assert triggers.get("/readyz").status_code == 200
    for path in ("/api/events", "/api/rejected", "/api/stats", "/api/stream"):
        assert triggers.get(path).status_code == 401, path
    replay = {"events": [], "sink": "http://127.0.0.1:1/"}
    assert triggers.post("/api/replay", json=replay).status_code == 401
    assert triggers.post("/api/replay", json=replay, headers=bearer("r" * 16)).status_code == 403
    session = triggers.get("/api/session").json()
    assert (session["read"], session["write"]) == (False, False)
    page = {"Sec-Fetch-Site": "cross-site", "content-type": "application/cloudevents+json"}
    assert triggers.post(json=event(4), headers=page).status_code == 403


def test_open_by_default(start: Start, event: Make) -> None:
    viewer = start()
    assert viewer.send(event(1)).status_code == 202
    assert viewer.get("/api/session").json() == {
        "read": True,
        "write": True,
        "remove": True,
        "user": "",
        "replay": False,
        "sinks": [],
        "any_sink": False,
        "pipelines": False,
    }


def test_reading_and_writing_are_separate(start: Start, event: Make) -> None:
    viewer = start(READ_TOKEN="reader", WRITE_TOKEN="writer")
    assert viewer.send(event(1)).status_code == 401
    assert viewer.send(event(1)).headers["www-authenticate"] == "Bearer"
    body, headers = json.dumps(event(1)), {"content-type": "application/cloudevents+json"}
    assert viewer.post(data=body, headers={**headers, **bearer("reader")}).status_code == 403
    assert viewer.post(data=body, headers={**headers, **bearer("writer")}).status_code == 202
    for path in ("/api/events", "/api/rejected", "/api/stats", "/api/stream", "/api/events/a/b"):
        assert viewer.get(path).status_code == 401, path
        assert viewer.get(path, headers=bearer("writer")).status_code == 403, path
    assert viewer.get("/api/events", headers=bearer("reader")).json()["total"] == 1
    for path in ("/", "/healthz", "/readyz", "/metrics", "/api/openapi.json", "/api/session"):
        assert viewer.get(path).status_code == 200, path
    assert "reader" not in viewer.log
    assert "writer" not in viewer.log


def test_a_token_file_may_change(start: Start, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    viewer = start(READ_TOKEN_FILE=tmp_path / "token")
    assert viewer.get("/api/events", headers=bearer("first")).status_code == 200
    (tmp_path / "token").write_text("second\n")
    wait_until(
        lambda: viewer.get("/api/events", headers=bearer("second")).status_code == 200,
    )
    assert viewer.get("/api/events", headers=bearer("first")).status_code == 401


def test_tokens_are_rotated_one_after_the_other(start: Start, tmp_path: Path) -> None:
    """As a mounted Secret is: the folder behind a link is replaced, no restart, no gap."""

    def mount(version: str, tokens: str) -> None:
        (tmp_path / version).mkdir()
        (tmp_path / version / "token").write_text(tokens)
        (tmp_path / "next").symlink_to(version)
        (tmp_path / "next").rename(tmp_path / "current")

    def status(token: str) -> int:
        return viewer.get("/api/events", headers=bearer(token)).status_code

    mount("1", "old\n")
    viewer = start(READ_TOKEN_FILE=tmp_path / "current" / "token")
    assert viewer.post("/api/session", json={"token": "old"}).status_code == 200
    assert (status("old"), status("new")) == (200, 200)  # the session keeps cookies
    mount("2", "new\nold\n")
    viewer.http.cookies.clear()
    wait_until(lambda: status("new") == 200)
    assert status("old") == 200
    mount("3", "new\n")
    wait_until(lambda: status("old") == 401)
    assert status("new") == 200
    (tmp_path / "3" / "token").unlink()  # nothing there for a moment
    assert status("new") == 200


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    """A viewer that everybody has to show something to."""
    with running(tmp_path_factory.mktemp("closed")) as starter:
        yield starter(READ_TOKEN="reader", PROXY_TOKEN="proxy", USER_HEADER="X-User")


@pytest.mark.parametrize(
    "header",
    [
        b"Cookie: event-viewer-read=\377",
        b"Cookie: event-viewer-read=" + b'"\\377"' * 1000,
        b"Cookie: " + b"=;" * 10_000,
        b"Cookie: event-viewer-read",
        b"Authorization: Bearer \377",
        b"Authorization: Bearer",
        b"Authorization: \377",
        b"Authorization: Basic YTpi",
        b"Origin: http://[",
        b"X-Proxy-Token: \377",
        b"X-Forwarded-For: \377",
    ],
)
def test_credentials_of_any_bytes_are_refused(closed: Viewer, header: bytes) -> None:
    end = b"\r\nHost: a\r\nConnection: close\r\n\r\n"
    answer = closed.raw(b"GET /api/events HTTP/1.1\r\n" + header + end)
    assert answer.startswith(b"HTTP/1.1 401"), answer
    answer = closed.raw(b"POST /api/session HTTP/1.1\r\n" + header + end)
    assert answer.startswith((b"HTTP/1.1 415", b"HTTP/1.1 403")), answer


def test_wrong_tokens_are_throttled(start: Start) -> None:
    """An address that guesses is soon refused whatever it sends; others are not."""
    viewer = start(READ_TOKEN="reader")

    def status(address: str, token: str) -> int:
        headers = {**bearer(token), "X-Forwarded-For": f"1.2.3.4, {address}"}
        return viewer.get("/api/events", headers=headers).status_code

    assert status("10.0.0.1", "reader") == 200
    for address in ("10.0.0.1", "10.0.0.2"):
        guesses = [status(address, f"guess {number}") for number in range(40)]
        assert guesses[:20] == [401] * 20
        assert 429 in guesses[20:]
    assert status("10.0.0.3", "reader") == 200

    def refused() -> bool:
        """Guess once more, since one more token may be sent each second."""
        status("10.0.0.2", "guess")
        return status("10.0.0.2", "reader") == 429

    wait_until(refused)
    # Whoever guesses from behind the same gateway does not lock out those known there.
    assert status("10.0.0.1", "reader") == 200
    headers = {"X-Forwarded-For": "10.0.0.2"}
    login = viewer.post("/api/session", json={"token": "reader"}, headers=headers)
    assert login.status_code == 429
    assert viewer.get("/api/events", headers=headers).status_code == 401


def test_the_page_gets_a_session(start: Start) -> None:
    viewer = start(READ_TOKEN="reader")
    assert viewer.post("/api/session", json={"token": "wrong"}).status_code == 401
    answer = viewer.post("/api/session", json={"token": "reader"})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert "reader" not in cookie
    assert viewer.get("/api/events").status_code == 200  # the session keeps cookies
    assert viewer.http.delete(viewer.url + "/api/session", timeout=PATIENCE).status_code == 204
    assert viewer.get("/api/events").status_code == 401


def test_users_of_a_proxy(start: Start) -> None:
    settings = {
        "USER_HEADER": "X-Forwarded-Email",
        "READ_USERS": "ann@example.com,*@ops.example.com",
        "WRITE_USERS": "bob@ops.example.com",
    }
    viewer = start(TRUSTED_PROXIES="127.0.0.0/8", **settings)

    def rights(user: str) -> tuple[bool, bool]:
        session = viewer.get("/api/session", headers={"X-Forwarded-Email": user}).json()
        return session["read"], session["write"]

    assert rights("ann@example.com") == (True, False)
    assert rights("bob@ops.example.com") == (True, True)
    assert rights("eve@ops.example.com.evil.org") == (False, False)
    assert rights("") == (False, False)
    untrusting = start(TRUSTED_PROXIES="10.0.0.0/8", **settings)
    headers = {"X-Forwarded-Email": "ann@example.com"}
    assert untrusting.get("/api/events", headers=headers).status_code == 401


def test_users_of_a_proxy_behind_the_queue_proxy(start: Start, tmp_path: Path) -> None:
    """In a Knative Service every request comes from 127.0.0.1: the proxy shows a token."""
    (tmp_path / "proxy").write_text("proxy secret\n".replace(" ", "-"))
    viewer = start(
        USER_HEADER="X-Forwarded-Email",
        PROXY_TOKEN_FILE=tmp_path / "proxy",
        WRITE_USERS="bob@example.com",
        K_REVISION="event-viewer-00001",
    )

    def rights(**headers: str) -> tuple[str, bool, bool]:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        session = viewer.get("/api/session", headers=given).json()
        return session["user"], session["read"], session["write"]

    bob = {"X_Forwarded_Email": "bob@example.com"}
    assert rights(**bob) == ("", False, False)
    assert rights(**bob, X_Proxy_Token="wrong") == ("", False, False)
    assert rights(**bob, X_Forwarded_For="127.0.0.1") == ("", False, False)
    assert rights(**bob, X_Proxy_Token="proxy-secret") == ("bob@example.com", True, True)
    assert rights(X_Proxy_Token="proxy-secret") == ("", False, False)
    assert viewer.get("/api/events", headers={"X-Proxy-Token": "proxy-secret"}).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_other_sites_may_not_write(start: Start, event: Make, headers: dict[str, str]) -> None:
    with sink() as (url, got):
        viewer = start(REPLAY_SINK=url)
        viewer.send(event(1))
        replay = {"source": event()["source"], "id": "1"}
        assert viewer.post("/api/replay", json=replay, headers=headers).status_code == 403
        assert viewer.post("/api/session", json={"token": "x"}, headers=headers).status_code == 403
        assert viewer.send(event(2)).status_code == 202
        body = json.dumps(event(3))
        structured = {"content-type": "application/cloudevents+json", **headers}
        assert viewer.post(data=body, headers=structured).status_code == 403
        # What a form can send without asking first:
        assert viewer.post("/api/replay", data=json.dumps(replay)).status_code == 415
        assert got == []
        own = {"Sec-Fetch-Site": "same-origin", "Origin": viewer.url}
        assert viewer.post("/api/replay", json=replay, headers=own).status_code == 200


def test_replay(start: Start, event: Make) -> None:
    with sink(status=202) as (url, got):
        viewer = start(REPLAY_SINK=url)
        sent = event("a/b", data={"big": 12345678901234567890123, "text": "é"})
        viewer.send(sent)
        replay = {"source": sent["source"], "id": "a/b"}
        assert viewer.post("/api/replay", json=replay).json() == {"sink": url, "status": 202}
        assert got == [{"type": "application/cloudevents+json; charset=utf-8", "event": sent}]
        assert viewer.post("/api/replay", json={**replay, "id": "none"}).status_code == 404


def test_replay_goes_only_where_it_may(start: Start, event: Make) -> None:
    with sink() as (url, got), sink(307, location=url) as (redirecting, _):
        base = url.removesuffix("/sink")
        viewer = start(REPLAY_SINKS=f"{base}/allowed/,{redirecting}")
        viewer.send(event(1))

        def replay(target: str) -> int:
            body = {"source": event()["source"], "id": "1", "sink": target}
            return viewer.post("/api/replay", json=body).status_code

        assert replay(f"{base}/allowed/there") == 200
        assert len(got) == 1
        for target in (
            url,
            f"{base}/allowed",
            f"{base}/allowed/../sink",
            f"{base}/allowed/%2e%2e/sink",
            f"{base}/allowed/.%2E/sink",
            f"{base}/allowed/..%2fsink",
            f"{base}/allowed/..%5csink",
            f"{base}/allowed/%252e%252e/sink",
            f"{base}/allowed/x/..;/../sink",
            f"{base}/allowed/..\\sink",
            f"{base}/allowed/\t../sink",
            f"{base}/allowed/%{'25' * 400}2e%{'25' * 400}2e/sink",
            f"{base}\\@evil.example/allowed/",
            base.replace("http://", "http://user@") + "/allowed/",
            "http://169.254.169.254/",
            "file:///etc/passwd",
        ):
            assert replay(target) == 403, target
        assert replay("") == 400
        # A redirect is told, not followed.
        assert replay(redirecting) == 200
        assert len(got) == 1


def test_replay_to_nobody(start: Start, event: Make) -> None:
    viewer = start(REPLAY_SINK="http://127.0.0.1:1/", REPLAY_TIMEOUT_SECONDS="0.5")
    viewer.send(event(1))
    answer = viewer.post("/api/replay", json={"source": event()["source"], "id": "1"})
    assert answer.status_code == 502
    assert "cannot be reached" in answer.json()["error"]


def test_a_sink_that_drips_is_given_up(start: Start, event: Make) -> None:
    """The timeout is for the whole answer; a replay after that finds its place free."""

    class Dripping(StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(b"H")
                    time.sleep(0.05)

    server = ThreadingTCPServer(("127.0.0.1", 0), Dripping)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sink = f"http://127.0.0.1:{server.server_address[1]}/"
    viewer = start(REPLAY_SINK=sink, REPLAY_TIMEOUT_SECONDS="0.5")
    viewer.send(event(1))
    for _ in range(3):
        answer = viewer.post("/api/replay", json={"source": event()["source"], "id": "1"})
        assert answer.status_code == 502
    server.shutdown()
    server.server_close()


def test_replay_needs_both_rights(start: Start, event: Make) -> None:
    with sink() as (url, got):
        viewer = start(REPLAY_SINK=url, WRITE_TOKEN="writer")
        body = json.dumps(event(1))
        headers = {"content-type": "application/cloudevents+json", **bearer("writer")}
        viewer.post(data=body, headers=headers)
        replay = {"source": event()["source"], "id": "1"}
        assert viewer.post("/api/replay", json=replay).status_code == 401
        assert viewer.get("/api/session").json()["replay"] is False
        assert viewer.post("/api/replay", json=replay, headers=bearer("writer")).status_code == 200
        assert len(got) == 1
