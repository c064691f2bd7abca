"""Removal for good: by deletions and by operators, from history, search, streams and files."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from apps.event_viewer.viewer_support import OpenStore, Start, Stream, Viewer, wait_until

from event_viewer.cloudevents import Event
from event_viewer.store import removal
from event_viewer.store.interface import Query, Rejection

Make = Callable[..., dict[str, Any]]
SECRET = "Only Ada Wrote Exactly This"


def _event(event_id: str, source: str = "/s", kind: str = "post", **members: Any) -> Event:
    event = {"specversion": "1.0", "source": source, "id": event_id, "type": kind, **members}
    text = json.dumps(event, separators=(",", ":")).encode()
    return Event(source, event_id, kind, members.get("subject", ""), text, "")


def _deletion(subject: str, source: str = "/s", **data: Any) -> Event:
    return _event(f"{subject}.deleted", source, "post.deleted", subject=subject, data=data)


def test_deletion_removes_the_event_and_what_was_refused_of_it(opened: OpenStore) -> None:
    store = opened()
    refused = Rejection("2026-01-01T00:00:00Z", 400, "bad", "c", {}, 9, 'text of "at://gone"')
    other = Rejection("2026-01-01T00:00:00Z", 400, "bad", "c", {}, 9, "another")
    store.append(
        [
            _event("at://gone", data={"text": SECRET}),
            _event("at://gone#2", data={"text": SECRET}),
            _event("at://gone2"),
            _event("at://gone", "/other"),
        ],
        [refused, other],
    )
    assert store.append([_deletion("at://gone")], []) == [True]
    left = [json.loads(one.event) for one in store.page(Query()).records]
    assert [(one["source"], one["id"]) for one in left] == [
        ("/s", "at://gone.deleted"),
        ("/other", "at://gone"),
        ("/s", "at://gone2"),
    ]
    assert [one.body for one in store.rejected(9)] == ["another"]
    [done] = store.removals(9)
    assert (done.events, done.by, done.reason) == (2, "source", "")


def test_deletion_of_a_short_id_spares_what_only_resembles_it(opened: OpenStore) -> None:
    store = opened()
    bodies = ['{"id": "1"}', '{"id": "21", "data": 1}', "1"]
    refused = [Rejection("2026-01-01T00:00:00Z", 400, "bad", "c", {}, 1, body) for body in bodies]
    by_header = Rejection("2026-01-01T00:00:00Z", 400, "bad", "c", {"ce-id": "1"}, 0, "text")
    store.append([_event("1"), _event("1*"), _event("11"), _event("1#2")], [*refused, by_header])
    store.append([_deletion("1")], [])
    left = [json.loads(one.event)["id"] for one in store.page(Query()).records]
    assert left == ["1.deleted", "11", "1*"]
    assert sorted(one.body for one in store.rejected(9)) == sorted(bodies[1:])
    store.append([_deletion("1*")], [])
    assert "11" in [json.loads(one.event)["id"] for one in store.page(Query()).records]


def test_what_was_removed_is_not_taken_again(opened: OpenStore) -> None:
    store = opened()
    store.append([_event("1")], [])
    store.append([_deletion("1")], [])
    assert store.append([_event("1"), _event("2")], []) == [False, True]
    assert store.append([_deletion("1")], []) == [False]
    assert len(store.removals(9)) == 1
    again = opened()
    assert again.append([_event("1")], []) == [False]


def test_deletion_that_came_first_keeps_its_event_out(opened: OpenStore) -> None:
    store = opened()
    store.append([_event("1#1"), _deletion("2"), _event("2"), _event("2#1"), _event("22")], [])
    store.append([_deletion("1")], [])
    assert store.append([_event("1"), _event("1#2"), _event("2#2")], []) == [False] * 3
    left = [json.loads(one.event)["id"] for one in store.page(Query()).records]
    assert left == ["1.deleted", "22", "2.deleted"]


def test_oldest_tombstones_go(opened: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "MOST_TOMBSTONES", 2)
    store = opened()
    for number in range(3):
        store.append([_deletion(f"{number}")], [])
        time.sleep(0.002)  # Redis orders them by milliseconds
    assert store.append([_event(f"{number}") for number in range(3)], []) == [True, False, False]


def test_deletion_of_an_author_removes_all_of_theirs(opened: OpenStore) -> None:
    store = opened()
    ada, bob = {"id": "did:ada", "handle": "ada"}, {"id": "did:bob"}
    store.append(
        [
            *(_event(f"a{n}", data={"author": ada}) for n in range(3)),
            _event("b", data={"author": bob}),
            _event("x", "/other", data={"author": ada}),
            _event("none"),
            _event("text", data="did:ada"),
        ],
        [],
    )
    store.append([_deletion("did:ada", author={"id": "did:ada"})], [])
    left = [json.loads(one.event)["id"] for one in store.page(Query()).records]
    assert left == ["did:ada.deleted", "text", "none", "x", "b"]
    assert store.removals(1)[0].events == 3


@pytest.mark.parametrize("subject", ["", "unknown"])
def test_deletion_that_names_nothing_removes_nothing(opened: OpenStore, subject: str) -> None:
    store = opened()
    store.append([_event("1"), _event("2", data=None)], [])
    store.append([_deletion(subject)], [])
    assert store.total() == 3


def test_notices_go_after_some_time(opened: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened()
    store.append([_event("1")], [])
    store.append([_deletion("1")], [])
    store.append([_event("2")], [])
    real = time.time_ns
    later = removal.NOTICE_SECONDS + 1
    monkeypatch.setattr(time, "time_ns", lambda: real() + later * 1_000_000_000)
    store.maintain()
    left = [json.loads(one.event)["id"] for one in store.page(Query()).records]
    assert left == ["2"]
    assert len(store.removals(9)) == 1


def _indexed(path: Path) -> int:
    """The number of the last event in the search index."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        row = connection.execute("SELECT value FROM meta WHERE key = 'indexed'").fetchone()
    return int(row[0].split()[-1]) if row else 0


def test_nothing_of_a_removed_event_is_left_in_the_files(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "kept.db"
    viewer = start(STORE=str(path))
    post = {"specversion": "1.0", "source": "/s", "type": "post"}
    viewer.send(post | {"id": "gone", "data": {"text": SECRET}})
    viewer.send(post | {"id": "stays", "data": {"text": "Another Text"}})
    wait_until(lambda: _indexed(path) == 2)  # made in the background
    deletion = {"type": "post.deleted", "id": "gone.deleted", "subject": "gone"}
    assert viewer.send(post | deletion).status_code == 202
    assert viewer.find("/s", "gone").status_code == 404
    assert not viewer.events(text="exactly this")
    assert viewer.events(text="another")

    def found() -> bool:
        files = [file.read_bytes() for file in tmp_path.glob("kept.db*")]
        return any(SECRET.encode() in content for content in files)

    wait_until(lambda: not found())
    assert b"Another Text" in b"".join(f.read_bytes() for f in tmp_path.glob("kept.db*"))


def test_operator_removes_an_event_and_an_author(start: Start, event: Make) -> None:
    viewer = start()
    source = event()["source"]
    author = {"author": {"id": "u1", "handle": "ada"}}
    for number in range(4):
        viewer.send(event(number, data=author if number else {}))
    stream = Stream(viewer)
    removed = viewer.post("/api/removals", json={"source": source, "id": "0", "reason": "#17"})
    assert removed.status_code == 200
    assert removed.json() | {"removed": ""} == {
        "removed": "",
        "events": 1,
        "by": "operator",
        "reason": "#17",
    }
    removed = viewer.post("/api/removals", json={"source": source, "author": "ada"})
    assert removed.json()["events"] == 3
    wait_until(lambda: len(stream.messages) == 2)
    assert [message["event"]["subject"] for _, message in stream.messages] == ["0", "ada"]
    report = viewer.get("/api/removals").json()["removals"]
    assert [one["events"] for one in report] == [3, 1]
    assert all(one["event"]["type"].endswith(".deleted") for one in viewer.events(source=source))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"source": "/s"}, 400),
        ({"source": "/s", "id": "1", "author": "a"}, 400),
        ({"source": "", "id": "1"}, 400),
        ({"source": "/s", "id": "1\n"}, 400),
        ({"source": "/s", "id": "1", "reason": "x" * 201}, 400),
        ({"source": "/s", "id": "not kept"}, 404),
    ],
)
def test_removal_that_cannot_be_is_refused(viewer: Viewer, body: Any, status: int) -> None:
    assert viewer.post("/api/removals", json=body).status_code == status


def test_removal_needs_both_rights(start: Start) -> None:
    viewer = start(READ_TOKEN="r" * 16, WRITE_TOKEN="w" * 16)
    for token, status in (("", 401), ("r" * 16, 403), ("w" * 16, 403)):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = viewer.post("/api/removals", json={"source": "/s", "id": "1"}, headers=headers)
        assert answer.status_code in (status, 401), (token, answer.text)
