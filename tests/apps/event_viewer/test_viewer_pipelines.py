"""Producers' status in the viewer: what is shown of it, and that no producer can hold it up or fill it."""

from __future__ import annotations

import http.server
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from apps.event_viewer.viewer_support import Start, wait_until
from support.http_server import Answer, answering, serving

from event_viewer.pipelines import FRESH_SECONDS

STATUS: dict[str, Any] = {
    "pipeline": "twitter",
    "source": "search",
    "standing_by": False,
    "per_minute": 2.5,
    "seconds_behind": 12.0,
    "sink": "http://viewer/",
    "state": "running",
    "reading": {"answered": True, "problem": None, "lasting": False, "failures": 0},
    "counters": {"polls": 3.0, "delivered": 40.0},
    "query": "knative lang:en",
    "checkpoint": [{"after": "1"}],
    "budget": {"day": "2026-01-31", "posts": 40, "unanswered": 0, "left": 1960, "dollars": 0.2},
}


def status(**changes: Any) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps({**STATUS, **changes}).encode()


def asked(start: Start, file: Path, *urls: str, **settings: str) -> list[dict[str, Any]]:
    """What a viewer answers that may ask these."""
    file.write_text("\n".join(urls))
    viewer = start(PIPELINES_FILE=file, **settings)
    answer = viewer.get("/api/pipelines")
    assert answer.status_code == 200
    return answer.json()["pipelines"]


def test_nothing_is_asked_unless_it_is_set(start: Start) -> None:
    viewer = start()
    assert viewer.get("/api/session").json()["pipelines"] is False
    assert viewer.get("/api/pipelines").json() == {"pipelines": []}


def test_status_needs_the_right_to_read(start: Start, tmp_path: Path) -> None:
    (tmp_path / "urls").write_text("")
    viewer = start(PIPELINES_FILE=tmp_path / "urls", READ_TOKEN="reader")
    assert viewer.get("/api/pipelines").status_code == 401
    assert viewer.get("/api/session").json()["pipelines"] is True


def test_status_of_a_producer(start: Start, tmp_path: Path) -> None:
    with answering(lambda *_: status()) as server:
        url = f"{server.url}/status"
        (found,) = asked(start, tmp_path / "urls", url)
        assert server.asked == ["GET /status"]
    assert found == {
        "url": url,
        "name": "twitter",
        "problem": "",
        "source": "search",
        "query": "knative lang:en",
        "state": "running",
        "delivered": 40.0,
        "per_minute": 2.5,
        "seconds_behind": 12.0,
        "budget": {"posts": 40, "left": 1960, "dollars": 0.2},
    }


def test_status_of_a_producer_without_a_budget(start: Start, tmp_path: Path) -> None:
    reading = {"answered": False, "problem": "Bluesky does not answer: refused"}
    told = {"budget": None, "query": None, "seconds_behind": None, "reading": reading}
    with answering(lambda *_: status(**told)) as server:
        (found,) = asked(start, tmp_path / "urls", server.url)
    assert (found["budget"], found["query"], found["seconds_behind"]) == (None, "", None)
    assert found["problem"] == "Bluesky does not answer: refused"


def test_replica_that_reads_is_looked_for(start: Start, tmp_path: Path) -> None:
    answers = [status(standing_by=True), status(standing_by=True), status()]
    with answering(lambda *_: answers.pop(0)) as server:
        (found,) = asked(start, tmp_path / "urls", server.url)
    assert found["state"] == "running"
    with answering(lambda *_: status(standing_by=True)) as server:
        (found,) = asked(start, tmp_path / "others", server.url)
        assert len(server.asked) == 4
    assert found["state"] == "standing by"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((503, {}, b"not now"), "the producer answered 503"),
        ((302, {"Location": "http://127.0.0.1:9/secret"}, b""), "the producer answered 302"),
        ((200, {}, b"<html>"), "the producer's answer is not a status"),
        ((200, {}, b'{"pipeline": 1}'), "the producer's answer is not a status"),
        ((200, {}, b"[" * 1_000_000), "the producer's answer is not a status"),
        (None, "the producer cannot be reached"),
    ],
)
def test_what_is_no_status_is_told(
    start: Start, tmp_path: Path, answer: Answer, problem: str
) -> None:
    with answering(lambda *_: answer) as server, answering(lambda *_: status()) as other:
        found, second = asked(start, tmp_path / "urls", server.url, other.url)
    assert found["url"] == server.url
    assert found["problem"].startswith(problem)
    assert second["name"] == "twitter"


def _endless(head: bytes, part: bytes) -> type[http.server.BaseHTTPRequestHandler]:
    """A server whose answer never ends."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                self.wfile.write(head)
                while True:
                    self.wfile.write(part)
                    self.wfile.flush()
                    self.server.ended.wait(0.1)  # type: ignore[attr-defined]
            except OSError:
                self.server.ended.set()  # type: ignore[attr-defined]

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    return Handler


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "], ids=["body", "head"]
)
def test_producer_that_never_ends_its_answer_is_hung_up_on(
    start: Start, tmp_path: Path, head: bytes
) -> None:
    with serving(_endless(head, b" ")) as server, answering(lambda *_: status()) as other:
        server.ended = threading.Event()
        url = f"http://127.0.0.1:{server.server_port}"
        found, second = asked(start, tmp_path / "urls", url, other.url)
        assert server.ended.wait(60)
    assert found["problem"]
    assert second["name"] == "twitter"


def test_texts_and_pipelines_are_bounded(start: Start, tmp_path: Path) -> None:
    long = "x" * 10_000
    with answering(lambda *_: status(pipeline=long, query=long, state=long)) as server:
        urls = [f"{server.url}/{number}" for number in range(25)]
        found = asked(start, tmp_path / "urls", "not a url", "ftp://a", "http://[", "", *urls)
    assert [one["url"] for one in found] == urls[:20]
    assert max(len(found[0][name]) for name in ("name", "query", "state")) == 500


def test_many_pages_cost_as_much_as_one(start: Start, tmp_path: Path) -> None:
    with answering(lambda *_: status()) as server:
        (tmp_path / "urls").write_text(server.url)
        viewer = start(PIPELINES_FILE=tmp_path / "urls")
        began = time.monotonic()
        for _ in range(30):
            viewer.get("/api/pipelines")
        assert 1 <= len(server.asked) <= 1 + (time.monotonic() - began) / FRESH_SECONDS


def test_a_new_pipeline_needs_no_restart(start: Start, tmp_path: Path) -> None:
    """The file of a mounted ConfigMap is exchanged under a viewer that runs."""
    with answering(lambda *_: status()) as server:
        (tmp_path / "urls").write_text("")
        viewer = start(PIPELINES_FILE=tmp_path / "urls")
        assert viewer.get("/api/pipelines").json() == {"pipelines": []}
        (tmp_path / "new").write_text(server.url)
        (tmp_path / "new").replace(tmp_path / "urls")
        wait_until(lambda: viewer.get("/api/pipelines").json()["pipelines"])
        (tmp_path / "urls").unlink()
        wait_until(lambda: not viewer.get("/api/pipelines").json()["pipelines"])


def test_proxy_of_the_environment_is_used(start: Start, tmp_path: Path) -> None:
    def relay(_method: str, path: str, headers: dict[str, str], _body: bytes) -> Answer:
        assert headers["Host"] == "twitter-status.streamops.svc.cluster.local"
        return status(pipeline=f"{path} {headers.get('Proxy-Authorization', '')}")

    url = "http://twitter-status.streamops.svc.cluster.local/status"
    with answering(relay) as proxy:
        named = {"http_proxy": f"http://ada:se%40cret@{proxy.host}"}
        (found,) = asked(start, tmp_path / "urls", url, **named)
        assert found["name"] == f"{url} Basic YWRhOnNlQGNyZXQ="
        proxy.asked.clear()
        with answering(lambda *_: status()) as server:
            (found,) = asked(start, tmp_path / "urls", server.url, **named, no_proxy="127.0.0.1")
        assert (found["name"], proxy.asked) == ("twitter", [])


def test_file_that_cannot_be_read_is_refused_at_the_start(start: Start, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="PIPELINES_FILE"):
        start(PIPELINES_FILE=tmp_path / "missing")
