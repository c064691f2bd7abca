"""What the receiver does with good, bad and hostile requests."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from apps.event_viewer.viewer_support import BATCH, PATIENCE, STRUCTURED, Start, Viewer, wait_until

from event_viewer.stream import HEARTBEAT_SECONDS

Make = Callable[..., dict[str, Any]]
#: Seconds: what only the next heartbeat would find takes longer.
AT_ONCE = HEARTBEAT_SECONDS - 3
LINE = b"POST / HTTP/1.1\r\nHost: viewer\r\n"


def test_an_event_is_logged_and_kept(viewer: Viewer, event: Make) -> None:
    sent = event(1, type="com.x.post", data={"text": 'a "quote"\nand a new line'})
    assert viewer.send(sent).status_code == 202
    record = viewer.find(sent["source"], "1").json()
    assert record["event"] == sent
    assert record["received"].endswith("Z")
    line = (
        f"received event id=1 type=com.x.post source={sent['source']}"
        r' text="a \"quote\"\nand a new line"'
    )
    wait_until(lambda: line in viewer.log)


def test_binary_mode(viewer: Viewer) -> None:
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "bin",
        "ce-source": "/binary",
        "ce-type": "t",
        "ce-subject": "caf%C3%A9",
        "content-type": "application/json",
    }
    assert viewer.post(data=b'{"n": 1.10}', headers=headers).status_code == 202
    answer = viewer.find("/binary", "bin")
    assert answer.json()["event"]["subject"] == "café"
    assert b'"n": 1.10' in answer.content


def test_a_duplicate_is_taken_once(viewer: Viewer, event: Make) -> None:
    for text in ("first", "second"):
        assert viewer.send(event(1, data=text)).status_code == 202
    records = viewer.events(source=event()["source"])
    assert [record["event"]["data"] for record in records] == ["first"]


def test_a_batch_keeps_its_order(viewer: Viewer, event: Make) -> None:
    assert viewer.send_batch([event(number) for number in range(50)]).status_code == 202
    records = viewer.events(source=event()["source"], limit=100)
    assert [record["event"]["id"] for record in records] == [str(n) for n in reversed(range(50))]


def test_an_empty_batch_is_fine(viewer: Viewer) -> None:
    assert viewer.send_batch([]).status_code == 202


@pytest.mark.parametrize(
    ("content_type", "body", "status", "reason"),
    [
        ("application/json", b'{"text": "no event"}', 400, "not a CloudEvent"),
        (STRUCTURED, b"not json", 400, "is not JSON"),
        (STRUCTURED, b'["an", "array"]', 400, "this is an array"),
        (STRUCTURED, b'{"id": "\xff"}', 400, "is not JSON"),
        (STRUCTURED, b"[" * 100_000, 400, "is not JSON"),
        (STRUCTURED, b'{"specversion": "1.0", "id": "1", "source": "/s"}', 400, "type is missing"),
        (BATCH, b'{"specversion": "1.0"}', 400, "this is an object"),
        (
            "application/cloudevents+xml",
            b"<event/>",
            415,
            "the only supported event format is JSON",
        ),
        (STRUCTURED, b'"' + b"x" * (1 << 20) + b'"', 413, "larger than 1048576"),
    ],
)
def test_refused_with_a_reason_and_kept(
    viewer: Viewer, content_type: str, body: bytes, status: int, reason: str
) -> None:
    answer = viewer.post(data=body, headers={"content-type": content_type})
    assert answer.status_code == status
    assert reason in answer.json()["error"]
    wanted = {"reason": answer.json()["error"], "status": status, "size": len(body)}

    def newest() -> dict[str, Any] | None:
        """What was refused is kept somewhat after the answer; until then an earlier one is the newest."""
        kept = viewer.rejected()[:1]
        return kept[0] if kept and kept[0].items() >= wanted.items() else None

    kept = wait_until(newest)
    assert kept["headers"]["content-type"] == content_type
    wait_until(lambda: f'rejected event status={status} client=127.0.0.1 reason="' in viewer.log)


def test_credentials_are_not_kept(viewer: Viewer) -> None:
    viewer.post(data=b"x", headers={"authorization": "Bearer secret-thing", "cookie": "a=secret-b"})
    wait_until(lambda: [one["body"] for one in viewer.rejected()[:1]] == ["x"])
    assert "secret" not in json.dumps(viewer.rejected())


def test_the_rejected_list_is_bounded(start: Start) -> None:
    viewer = start(KEEP_REJECTED=5)
    for number in range(12):
        viewer.post(data=f"bad {number}".encode())
    kept = [f"bad {n}" for n in range(11, 6, -1)]
    wait_until(lambda: [one["body"] for one in viewer.rejected()] == kept)


@pytest.mark.parametrize("chunked", [False, True])
def test_ten_megabytes_are_refused(viewer: Viewer, chunked: bool) -> None:
    body = b"x" * 10_000_000
    data = iter([body[:5_000_000], body[5_000_000:]]) if chunked else body
    assert viewer.post(data=data, headers={"content-type": STRUCTURED}).status_code == 413
    assert viewer.get("/healthz").status_code == 200


def test_a_body_in_chunks(viewer: Viewer, event: Make) -> None:
    body = json.dumps(event(1)).encode()
    parts = iter([body[:10], body[10:]])
    assert viewer.post(data=parts, headers={"content-type": STRUCTURED}).status_code == 202
    assert viewer.find(event()["source"], "1").status_code == 200


def test_lengths_that_lie(viewer: Viewer) -> None:
    for head in (
        b"Content-Length: -5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: five\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
    ):
        answer = viewer.raw(LINE + head + b"\r\nhello")
        assert answer.split(b"\r\n")[0].startswith(b"HTTP/1.1 4"), (head, answer)
        assert answer.count(b"HTTP/1.1") == 1


def test_a_shorter_length_does_not_smuggle(viewer: Viewer, event: Make) -> None:
    """What comes after a body is another request, and must be one."""
    body = json.dumps(event(1)).encode()
    head = LINE + f"Content-Type: {STRUCTURED}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    answer = viewer.raw(head + body + json.dumps(event(2)).encode())
    assert b"400 Bad Request" in answer
    assert viewer.find(event()["source"], "2").status_code == 404


def test_pipelined_requests_are_answered_in_order(viewer: Viewer, event: Make) -> None:
    requests = b""
    for number in range(3):
        body = json.dumps(event(number)).encode()
        head = f"Content-Type: {STRUCTURED}\r\nContent-Length: {len(body)}\r\n\r\n"
        requests += LINE + head.encode() + body
    answer = viewer.raw(requests + b"GET /healthz HTTP/1.0\r\n\r\n")
    assert [line for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1")] == [
        b"HTTP/1.1 202 Accepted"
    ] * 3 + [b"HTTP/1.1 200 OK"]


@pytest.mark.parametrize(
    "bomb",
    [
        b"".join(b"X-%d: y\r\n" % number for number in range(2000)),
        b"X-Long: " + b"y" * 60_000 + b"\r\n",
        b"X-Endless: " + b"y" * 2_000_000,
        b"ce-" + b"n" * 40_000 + b": 1\r\n",
    ],
)
def test_header_bombs(viewer: Viewer, bomb: bytes) -> None:
    try:
        answer = viewer.raw(LINE + bomb + b"\r\n")
    except (BrokenPipeError, ConnectionResetError):
        answer = b""  # refused while it was still being sent
    assert answer == b"" or answer.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400")), answer
    assert answer.count(b"HTTP/1.1") <= 1
    assert viewer.get("/healthz").status_code == 200


def test_a_refused_head_stores_nothing(viewer: Viewer, event: Make) -> None:
    body = json.dumps(event(1)).encode()
    many = b"".join(b"X-%d: y\r\n" % number for number in range(150))
    head = f"Content-Type: {STRUCTURED}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    answer = viewer.raw(LINE + many + head + body)
    assert answer.startswith(b"HTTP/1.1 431")
    assert answer.count(b"HTTP/1.1") == 1
    assert viewer.send(event(2)).status_code == 202
    assert viewer.find(event()["source"], "1").status_code == 404


def test_slow_requests_do_not_hold_it_up(start: Start) -> None:
    """Slowloris: many requests that never end are closed, and others are served meanwhile."""
    viewer = start(REQUEST_TIMEOUT_SECONDS=1, MAX_CONNECTIONS=300)
    slow = [socket.create_connection(viewer.address) for _ in range(250)]
    for number, connection in enumerate(slow):
        part = LINE if number % 2 else LINE + b"Content-Length: 100\r\n\r\nab"
        with contextlib.suppress(ConnectionError):  # as below
            connection.sendall(part)
    assert viewer.get("/healthz").status_code == 200
    for connection in slow:
        connection.settimeout(PATIENCE)
        answer = b""
        with contextlib.suppress(ConnectionError):  # closed before the test had sent its part
            answer = connection.recv(1000)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 408")
        connection.close()


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "sent", [b"", b"POST / HTTP/1.1\r\n", LINE + b"Content-Length: 100\r\n\r\nab", HEALTH[:40]]
)
def test_idle_connections_give_way(start: Start, sent: bytes) -> None:
    """The oldest that does nothing, or too slowly, is closed when there are too many."""
    viewer = start(MAX_CONNECTIONS=5)
    held = [socket.create_connection(viewer.address) for _ in range(5)]
    for connection in held:
        connection.sendall(sent)
    assert viewer.raw(HEALTH).startswith(b"HTTP/1.1 200")
    assert viewer.raw(HEALTH).startswith(b"HTTP/1.1 200")
    for connection in held:
        connection.close()


def test_connections_in_use_do_not_give_way(start: Start, event: Make) -> None:
    viewer = start(MAX_CONNECTIONS=5)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            connection = stack.enter_context(socket.create_connection(viewer.address))
            connection.sendall(b"GET /api/stream HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        assert viewer.raw(HEALTH).startswith(b"HTTP/1.1 503")
    wait_until(lambda: viewer.raw(HEALTH).startswith(b"HTTP/1.1 200"))


def test_trailers_are_not_attributes(viewer: Viewer) -> None:
    head = LINE + b"ce-specversion: 1.0\r\nce-id: trailer\r\nce-source: /trailer\r\nce-type: t\r\n"
    chunks = b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n"
    answer = viewer.raw(head + chunks + b"ce-subject: later\r\nce-id: 2\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 202")
    stored = viewer.find("/trailer", "trailer").json()["event"]
    assert set(stored) == {"specversion", "id", "source", "type", "data"}
    many = b"".join(b"x-%d: y\r\n" % number for number in range(10_000))
    with contextlib.suppress(ConnectionError):
        assert viewer.raw(head + chunks + many * 10).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(
    "flood",
    [
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 10_000,
        LINE + b"Content-Length: 1000000\r\n\r\n" + b"x" * 500_000,
        LINE + b"x: " + b"y" * 20_000 + b"\r\n\r\n",
    ],
)
def test_pipelines_are_bounded(start: Start, flood: bytes) -> None:
    """Requests behind an answer that does not end are not kept in memory."""
    viewer = start()
    stream = b"GET /api/stream HTTP/1.1\r\nHost: a\r\n\r\n"
    with (
        socket.create_connection(viewer.address, timeout=PATIENCE) as connection,
        contextlib.suppress(ConnectionError),
    ):
        connection.sendall(stream + flood)
        while connection.recv(65536):
            pass  # it is closed, where a stream would go on
    wait_until(lambda: "\nevent_viewer_streams 0.0" in viewer.get("/metrics").text, AT_ONCE)


def test_a_client_that_leaves_with_requests_pending_is_noticed(start: Start) -> None:
    viewer = start()
    stream = b"GET /api/stream HTTP/1.1\r\nHost: a\r\n\r\n"
    with socket.create_connection(viewer.address, timeout=PATIENCE) as connection:
        connection.sendall(stream + stream)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    wait_until(lambda: "\nevent_viewer_streams 0.0" in viewer.get("/metrics").text, AT_ONCE)
    assert "Traceback" not in viewer.log


def test_a_sender_may_ask_for_permission(viewer: Viewer, start: Start) -> None:
    """Web Hooks for Event Delivery, as Azure's Event Grid asks."""
    asking = {"WebHook-Request-Origin": "eventgrid.azure.net", "WebHook-Request-Rate": "100",
              "WebHook-Request-Callback": "http://127.0.0.1:9/callback"}  # fmt: skip
    answer = viewer.http.options(viewer.url + "/", headers=asking, timeout=PATIENCE)
    assert answer.status_code == 200
    assert answer.headers["webhook-allowed-origin"] == "eventgrid.azure.net"
    assert answer.headers["webhook-allowed-rate"] == "*"
    assert "POST" in answer.headers["allow"]
    plain = viewer.http.options(viewer.url + "/", timeout=PATIENCE)
    assert "webhook-allowed-origin" not in plain.headers
    closed = start(WRITE_TOKEN="writer")
    answer = closed.http.options(closed.url + "/", headers=asking, timeout=PATIENCE)
    assert answer.status_code == 401
    assert "webhook-allowed-origin" not in answer.headers
    asking["Authorization"] = "Bearer writer"
    assert (
        closed.http.options(closed.url + "/", headers=asking, timeout=PATIENCE).status_code == 200
    )


@pytest.mark.parametrize("event_id", ["a/b/c", "../../etc", "%2F", "ä ö", "?x=1#y", "a'\"b", "."])
def test_ids_of_any_kind_are_found(viewer: Viewer, event: Make, event_id: str) -> None:
    sent = event(event_id)
    assert viewer.send(sent).status_code == 202
    found = viewer.events(source=sent["source"], id=event_id)
    assert [record["event"] for record in found] == [sent]
    if event_id != ".":  # clients take a segment of dots out of a path
        assert viewer.find(sent["source"], event_id).json()["event"] == sent


def test_markup_stays_data(viewer: Viewer, event: Make) -> None:
    markup = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    sent = event(markup, subject=markup, type=markup, data={"text": markup})
    assert viewer.send(sent).status_code == 202
    answer = viewer.get("/api/events", params={"source": sent["source"]})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["events"][0]["event"] == sent
    page = viewer.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert markup not in page.text


def test_logging_is_bounded(start: Start, event: Make) -> None:
    viewer = start(LOG_EVENTS_PER_SECOND=10, LOG_TEXT_LENGTH=5)
    began = time.monotonic()
    viewer.send_batch([event(number, data="abcdefgh") for number in range(500)])
    time.sleep(1.1)  # into another second
    viewer.send(event("later", data="x"))
    seconds = time.monotonic() - began + 2  # that were begun

    def logged() -> int:
        return viewer.log.count("received event")

    def left_out() -> int:
        return sum(map(int, re.findall(r"(\d+) events were not logged", viewer.log)))

    wait_until(lambda: logged() + left_out() == 501)
    assert 10 < logged() <= 10 * seconds
    assert 'text="abcde…"' in viewer.log


def test_logging_can_be_off(start: Start, event: Make) -> None:
    viewer = start(LOG_EVENTS="false")
    viewer.send(event(1))
    assert viewer.stop() == 0
    assert "received event" not in viewer.log


def test_many_senders_at_once_lose_nothing(start: Start, event: Make) -> None:
    """Two workers race for the same events: each is kept once."""
    viewer = start(WORKERS=2)

    def send(number: int) -> int:
        return viewer.send(event(number % 200)).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(send, range(400))) == {202}
    records = viewer.events(source=event()["source"], limit=1000)
    assert sorted(int(record["event"]["id"]) for record in records) == list(range(200))
    metrics = viewer.get("/metrics").text
    assert "event_viewer_events_accepted_total 200.0" in metrics
    assert "event_viewer_events_duplicate_total 200.0" in metrics


def test_what_was_accepted_before_the_end_is_kept(start: Start, event: Make, tmp_path: Any) -> None:
    store = tmp_path / "events.db"
    viewer = start(STORE=store)
    viewer.send_batch([event(number) for number in range(1000)])
    assert viewer.stop() == 0
    assert len(start(STORE=store).events(limit=1000)) == 1000
