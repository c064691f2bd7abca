"""Deleted posts of X: compliance jobs over what was delivered, at X's stand-in."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from support.producer import PATIENCE, Kit, Producer, Sink, X, wait_for

from twitter_producer.delivered_posts import DeliveredPosts

JOBS = "/2/compliance/jobs"


def _settings(kit: Kit, x: X, sink: Sink, **more: Any) -> dict[str, Any]:
    x.control("PUT", "/limits", {"compliance/app": 1_000_000, "search/user": 1_000_000})
    return {
        **kit.searching(x, sink, compliance_interval_seconds=0.5, x_timeout_seconds=2),
        **more,
    }


def _delete(x: X, post_id: str, reason: str = "deleted") -> None:
    x.control("DELETE", f"/posts/{post_id}?reason={reason}")


def _asked(x: X, method: str, path: str) -> int:
    return sum(r["method"] == method and r["url"].startswith(path) for r in x.requests())


def _delivered(kit: Kit, x: X, sink: Sink, **more: Any) -> tuple[Producer, list[str]]:
    """Return a producer that has delivered three posts."""
    producer = kit.producer(**_settings(kit, x, sink, **more))
    ids = x.publish_many(3)
    wait_for(lambda: sink.ids == ids, explain=lambda: str(producer.log))
    return producer, ids


@pytest.mark.parametrize("reason", ["deleted", "deactivated", "suspended", "protected", "bounced"])
def test_post_that_is_gone_is_told_as_an_event(kit: Kit, reason: str) -> None:
    x, sink = kit.x(), kit.sink()
    producer, ids = _delivered(kit, x, sink)
    _delete(x, ids[1], reason)
    wait_for(lambda: len(sink.received) > 3, explain=lambda: str(producer.log))
    event = sink.received[3]
    assert event.id == ids[1] + ".deleted"
    assert event.headers["ce-type"] == "com.x.post.deleted"
    assert event.headers["ce-source"] == sink.received[0].headers["ce-source"]
    assert event.headers["ce-subject"] == event.data["id"] == ids[1]
    assert event.data == {"id": ids[1], "network": "x", "reason": reason}
    jobs = _asked(x, "POST", JOBS)
    wait_for(lambda: _asked(x, "POST", JOBS) > jobs + 1, explain=lambda: str(producer.log))
    assert len(sink.received) == 4, "each deletion once"
    status = requests.get(producer.url + "/status", timeout=PATIENCE).json()
    assert status["compliance"]["posts"] == 2


def test_stream_is_asked_as_well(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    producer, ids = _delivered(kit, x, sink, source="stream", overlap_seconds=1)
    _delete(x, ids[0])
    wait_for(lambda: ids[0] + ".deleted" in sink.ids, explain=lambda: str(producer.log))


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503, "path": JOBS},
        {"kind": "status", "status": 403, "path": JOBS},
        {"kind": "status", "status": 429, "path": JOBS},
        {"kind": "garbage", "path": JOBS},
        {"kind": "drop", "path": JOBS, "count": 3},
        {"kind": "drop", "path": "/storage"},
        {"kind": "status", "status": 500, "path": "/storage", "count": 2},
        {"kind": "truncate", "path": "/storage", "count": 2},
        {"kind": "status", "status": 403, "path": "/oauth2"},
    ],
    ids=str,
)
def test_nothing_is_forgotten_where_a_job_goes_wrong(kit: Kit, fault: dict[str, Any]) -> None:
    x, sink = kit.x(), kit.sink()
    producer, ids = _delivered(kit, x, sink)
    x.control("POST", "/faults", fault)
    producer.saying("the compliance job cannot go on now")
    more = x.publish_many(2)
    wait_for(lambda: set(more) <= set(sink.ids), explain=lambda: str(producer.log))
    # A job whose creation was not answered keeps its place for a quarter of an hour.
    x.control("PUT", "/clock", {"ahead_seconds": 16 * 60})
    _delete(x, ids[2])
    wait_for(lambda: ids[2] + ".deleted" in sink.ids, explain=lambda: str(producer.log))
    assert producer.stop() == 0


def test_job_that_failed_at_x_is_followed_by_another(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    x.control("PUT", "/compliance", {"failures": 1})
    producer, ids = _delivered(kit, x, sink)
    assert producer.saying("failed at X")["status"] == "failed"
    _delete(x, ids[0])
    wait_for(lambda: ids[0] + ".deleted" in sink.ids, explain=lambda: str(producer.log))


def test_job_under_way_survives_a_restart(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    x.control("PUT", "/compliance", {"seconds": 600})
    producer, ids = _delivered(kit, x, sink)
    producer.saying("a compliance job has begun")
    assert producer.stop() == 0
    stored = json.loads((kit.folder / "state.json").read_text())
    assert stored["compliance"]["job"]
    x.control("PUT", "/compliance", {"seconds": 0})
    # The next job is not due before the test has ended.
    producer = kit.producer(**_settings(kit, x, sink, compliance_interval_seconds=600))
    said = producer.saying("a compliance job is complete")
    assert (said["posts"], said["gone"]) == (3, 0)
    assert _asked(x, "POST", JOBS) == 1
    assert sink.ids == ids


def test_list_that_did_not_arrive_is_sent_by_the_next_process(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    x.control("POST", "/faults", {"kind": "drop", "path": "/storage", "count": 1000})
    producer, ids = _delivered(kit, x, sink)
    producer.saying("the compliance job cannot go on now")
    assert producer.stop() == 0
    x.control("DELETE", "/faults")
    _delete(x, ids[0])
    producer = kit.producer(**_settings(kit, x, sink))
    wait_for(lambda: ids[0] + ".deleted" in sink.ids, explain=lambda: str(producer.log))
    asked = [(r["method"], r["url"].partition("?")[0]) for r in x.requests()]
    read = next(
        n for n, (method, url) in enumerate(asked) if (method, url[:8]) == ("GET", "/storage")
    )
    assert asked[:read].count(("POST", JOBS)) == 1, "it is the first job whose result was read"


def test_job_that_is_too_old_is_followed_by_another(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    producer, ids = _delivered(kit, x, sink, compliance_interval_seconds=600)
    assert producer.stop() == 0
    file = kit.folder / "state.json"
    stored = json.loads(file.read_text())
    stored["compliance"] |= {"job": "5", "checked": "2026-01-01T00:00:00+00:00"}
    file.write_text(json.dumps(stored))
    _delete(x, ids[1])
    producer = kit.producer(**_settings(kit, x, sink))
    wait_for(lambda: ids[1] + ".deleted" in sink.ids, explain=lambda: str(producer.log))


def test_deletions_wait_for_a_sink_that_is_down_over_a_kill(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    producer, ids = _delivered(kit, x, sink)
    sink.decide = lambda _event: (503, {})
    for post_id in ids:
        _delete(x, post_id)
    wait_for(lambda: sink.refused, explain=lambda: str(producer.log))
    producer.kill()
    sink.decide = None
    kit.producer(**_settings(kit, x, sink))
    wait_for(lambda: {f"{i}.deleted" for i in ids} <= set(sink.ids))


def test_only_the_place_of_a_post_has_to_go_where_it_was_read(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    producer, ids = _delivered(kit, x, sink)
    _delete(x, ids[0], "scrub_geo")
    wait_for(lambda: _asked(x, "POST", JOBS) > 2)
    assert sink.ids == ids
    assert producer.stop() == 0
    producer = kit.producer(**_settings(kit, x, sink, post_fields="created_at,geo"))
    wait_for(lambda: ids[0] + ".deleted" in sink.ids, explain=lambda: str(producer.log))


def test_without_an_interval_nothing_is_asked_nor_kept(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    producer = kit.producer(**kit.searching(x, sink, compliance_interval_seconds=0))
    x.publish_many(1)
    wait_for(lambda: len(sink.received) == 1)
    assert producer.stop() == 0
    assert "compliance" not in json.loads((kit.folder / "state.json").read_text())


def test_delivered_posts_are_bounded_and_survive_as_text() -> None:
    posts = DeliveredPosts(most=3)
    for post_id in (5, (1 << 63) - 1, 7, 8):
        posts.add(post_id)
    posts.remove({7})
    again = DeliveredPosts(most=3)
    again.load(posts.dump())
    assert again.ids() == {(1 << 63) - 1, 8}
    with pytest.raises(ValueError, match="cut off"):
        again.load("AAAA")
