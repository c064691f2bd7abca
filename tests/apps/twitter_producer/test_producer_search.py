"""The polling producer, as a process, against X's stand-in and a recording sink."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from support.producer import PATIENCE, SHARED, Kit, Producer, X, wait_for

RECORDED = SHARED / "recorded-posts.json"


@pytest.mark.skipif(not RECORDED.is_file(), reason=f"no recorded posts at {RECORDED}")
def test_recorded_posts_arrive_once_in_order_and_byte_for_byte(kit: Kit) -> None:
    posts = json.loads(RECORDED.read_text())["data"]
    x, sink = kit.x(RECORDED), kit.sink()
    producer = kit.producer(**kit.searching(x, sink))
    wait_for(lambda: len(sink.received) >= len(posts))
    x.publish_many(1)
    wait_for(lambda: len(sink.received) > len(posts))
    assert producer.stop() == 0
    assert sink.ids[:-1] == sorted((post["id"] for post in posts), key=int)
    by_id = {post["id"]: post for post in posts}
    for event in sink.received[:-1]:
        assert event.data == by_id[event.id]
        assert by_id[event.id]["text"] == event.data["text"]
        assert json.dumps(by_id[event.id]["text"], ensure_ascii=False).encode() in event.body


def test_event_has_the_required_attributes_and_the_overrides(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    [post_id] = x.publish({"text": "hello", "created_at": "2026-01-02T03:04:05.000Z"})
    overrides = json.dumps({"extensions": {"team": "größe"}})
    kit.producer(**kit.searching(x, sink, k_ce_overrides=overrides, event_source="https://x.com/t"))
    wait_for(lambda: sink.received)
    headers = sink.received[0].headers
    assert headers["ce-specversion"] == "1.0"
    assert headers["ce-id"] == post_id
    assert headers["ce-source"] == "https://x.com/t"
    assert headers["ce-type"] == "com.x.post"
    assert headers["ce-time"] == "2026-01-02T03:04:05Z"
    assert headers["ce-team"] == "gr%C3%B6%C3%9Fe"
    assert headers["content-type"] == "application/json"


def test_pages_are_delivered_oldest_first(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    ids = x.publish_many(237)
    kit.producer(**kit.searching(x, sink, max_results=10, max_pages=100))
    wait_for(lambda: len(sink.received) == len(ids))
    assert sink.ids == ids


def test_more_than_one_reading_takes_is_read_in_parts_and_none_is_lost(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    ids = x.publish_many(237)
    producer = kit.producer(**kit.searching(x, sink, max_results=10, max_pages=3))
    wait_for(lambda: len(sink.received) == len(ids))
    assert producer.stop() == 0
    assert sorted(sink.ids) == sorted(ids)


def test_late_post_with_a_smaller_id_is_found_in_the_overlap(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    [first] = x.publish({"text": "first"})
    producer = kit.producer(**kit.searching(x, sink))
    wait_for(lambda: sink.ids == [first])
    late = str(int(first) - (5000 << 22))
    x.publish({"id": late, "text": "late", "edit_history_tweet_ids": [late]})
    wait_for(lambda: sink.ids == [first, late])
    polls = len(x.requests())
    wait_for(lambda: len(x.requests()) > polls + 3)
    assert producer.stop() == 0
    assert sink.ids == [first, late]


def test_restart_delivers_nothing_twice(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    ids = x.publish_many(30)
    settings = kit.searching(x, sink)
    first = kit.producer(**settings)
    wait_for(lambda: len(sink.received) == 30)
    assert first.stop() == 0
    ids += x.publish_many(5)
    second = kit.producer(**settings)
    wait_for(lambda: len(sink.received) >= 35)
    assert second.stop() == 0
    assert sink.ids == ids


def test_one_shot_ends_when_everything_new_is_delivered(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    ids = x.publish_many(25)
    producer = kit.producer(**kit.searching(x, sink, run_once="true", max_results=10, max_pages=1))
    assert producer.wait() == 0
    assert sorted(sink.ids) == sorted(ids)


def test_app_only_bearer_is_got_from_the_app_keys(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    x.publish_many(1)
    kit.producer(**kit.searching(x, sink, x_access_key="", x_access_secret=""))
    wait_for(lambda: sink.received)
    assert any(r["url"] == "/oauth2/token" for r in x.requests())


def test_first_start_looks_back_a_bounded_time(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    two_hours_ago = _id_made(2 * 3600)
    x.publish({"id": two_hours_ago, "text": "old", "created_at": _iso(2 * 3600)})
    [recent] = x.publish({"text": "recent"})
    producer = kit.producer(**kit.searching(x, sink, run_once="true", lookback_seconds=3600))
    assert producer.wait() == 0
    assert sink.ids == [recent]


@pytest.mark.parametrize("hours", [-6, 6])
def test_first_start_with_a_wrong_clock_looks_back_by_xs(kit: Kit, hours: int) -> None:
    x, sink = kit.x(), kit.sink()
    x.control("PUT", "/clock", {"ahead_seconds": -hours * 3600 - 2 * 3600})
    x.publish_many(1, "two hours ago")
    x.control("PUT", "/clock", {"ahead_seconds": -hours * 3600 - 600})
    recent = x.publish_many(2, "ten minutes ago")
    x.control("PUT", "/clock", {"ahead_seconds": -hours * 3600})
    producer = kit.producer(**kit.searching(x, sink, run_once="true", lookback_seconds=3600))
    assert producer.wait() == 0, producer.log
    assert sink.ids == recent


def test_it_waits_for_xs_time_and_is_ready_meanwhile(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    x.fault("drop", path="/2/openapi", count=3)
    ids = x.publish_many(1)
    producer = kit.producer(**kit.searching(x, sink, poll_interval_seconds=0.5))
    producer.saying("X did not answer as expected")
    assert requests.get(producer.url + "/readyz", timeout=PATIENCE).status_code == 200
    wait_for(lambda: sink.ids == ids)


def test_empty_pages_that_never_end_are_reported_and_not_asked_for_without_pause(
    kit: Kit, x_answers: Any
) -> None:
    x, sink = kit.x(), kit.sink()
    pages = [
        (200, {}, json.dumps({"meta": {"result_count": 0, "next_token": f"t{n}"}}).encode())
        for n in range(1000)
    ]
    front = x_answers(x, pages)
    producer = kit.producer(**kit.searching(X.at(front, x.home), sink, poll_interval_seconds=60))
    assert "never end" in producer.saying("X did not answer as expected")["error"]
    assert len(pages) > 900


def test_empty_pages_in_between_do_not_hide_what_comes_after_them(kit: Kit, x_answers: Any) -> None:
    x, sink = kit.x(), kit.sink()
    empty = {"meta": {"result_count": 0, "next_token": "a"}}
    last = {"data": [{"id": "1700000000000000001", "text": "after"}], "meta": {}}
    tokens = ({**empty, "meta": {**empty["meta"], "next_token": f"t{n}"}} for n in range(12))
    front = x_answers(x, [(200, {}, json.dumps(page).encode()) for page in (*tokens, last)])
    kit.producer(**kit.searching(X.at(front, x.home), sink, max_pages=2))
    wait_for(lambda: sink.ids == ["1700000000000000001"])


def test_whole_text_of_a_long_post_is_delivered(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    whole = "a" * 600
    x.publish({"text": whole[:275] + "…", "note_tweet": {"text": whole}})
    kit.producer(**kit.searching(x, sink))
    wait_for(lambda: sink.received)
    assert sink.received[0].data["note_tweet"]["text"] == whole


@pytest.mark.parametrize("source", ["search", "stream"])
def test_authors_are_named_and_counted_where_that_is_wanted(kit: Kit, source: str) -> None:
    x, sink = kit.x(), kit.sink()
    names = kit.searching(x, sink, source=source, author_names="true", overlap_seconds=1)
    producer = kit.producer(**names)
    if source == "stream":
        producer.saying("the stream is open")
    ids = x.publish(*({"text": "knative", "author_id": author} for author in ("7", "7", "8")))
    x.publish({"text": "knative without an author"})
    wait_for(lambda: len(sink.received) == 4, explain=lambda: str(producer.log))
    first = sink.received[0].data
    assert first["author"] == {
        "id": "7",
        "name": "User 7",
        "handle": "user7",
        "url": "https://x.com/user7",
    }
    assert (first["network"], first["text"]) == ("x", "knative")
    assert first["url"] == f"https://x.com/user7/status/{ids[0]}"
    last = sink.received[3].data
    assert last["author"] == {"id": None, "name": None, "handle": None, "url": None}
    assert last["url"] == f"https://x.com/i/status/{last['id']}"
    assert x.bill()["users"] == 2
    budget = requests.get(producer.url + "/status", timeout=PATIENCE).json()["budget"]
    assert (budget["posts"], budget["authors"], budget["dollars"]) == (4, 2, 0.04)
    assert producer.stop() == 0
    kit.producer(**names)
    wait_for(lambda: kit.producers[-1].saying("resumes"))
    status = requests.get(kit.producers[-1].url + "/status", timeout=PATIENCE).json()
    assert status["budget"]["authors"] == 2, "it is kept"


def test_too_old_checkpoint_goes_on_from_the_oldest_id_that_x_takes(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    _store_checkpoint(kit, after=_id_made(9 * 24 * 3600))
    six_days = 6 * 24 * 3600
    x.publish({"id": _id_made(six_days), "text": "six days", "created_at": _iso(six_days)})
    x.publish_many(2)
    producer = kit.producer(**kit.searching(x, sink))
    wait_for(lambda: len(sink.received) == 3)
    assert producer.saying("older than what X remembers")["severity"] == "WARNING"
    statuses = [r["status"] for r in x.requests()]
    assert statuses.count(400) == 1


def test_checkpoint_of_the_future_is_refused_by_its_name(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    _store_checkpoint(kit, after=_id_made(-9 * 24 * 3600))
    producer = kit.producer(**kit.searching(x, sink))
    assert producer.wait() == 2
    assert "X refuses the checkpoint" in producer.log[-1]["message"]


def test_health_metrics_status_and_probe(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    x.publish_many(3)
    producer = kit.producer(**kit.searching(x, sink, pipeline="birds"))
    wait_for(lambda: len(sink.received) == 3)
    url = producer.url
    assert requests.get(url + "/healthz", timeout=PATIENCE).status_code == 200
    assert requests.get(url + "/readyz", timeout=PATIENCE).status_code == 200

    def metrics() -> str:
        return requests.get(url + "/metrics", timeout=PATIENCE).text

    wait_for(lambda: "twitter_producer_delivered_total 3.0" in metrics())  # after the sink's answer
    for name in ("polls_total", "rate_limit_remaining", "seconds_behind", "budget_left_posts"):
        assert f"\ntwitter_producer_{name} " in metrics()
    status = requests.get(url + "/status", timeout=PATIENCE).json()
    assert status["counters"]["delivered"] == 3
    assert status["budget"]["posts"] == 3
    answer = requests.post(url + "/probe", json={"id": "probe-1"}, timeout=PATIENCE)
    assert answer.status_code == 200
    assert answer.json()["status"] == 202
    probe = sink.received[-1]
    assert (probe.id, probe.headers["ce-type"]) == ("probe-1", "com.streamops.probe")
    assert probe.headers["ce-source"] == sink.received[0].headers["ce-source"]
    assert probe.data["pipeline"] == "birds"
    assert requests.post(url + "/probe", data=b"[]", timeout=PATIENCE).status_code == 400
    sink.answers = [(400, {})]
    answer = requests.post(url + "/probe", json={"id": "probe-2"}, timeout=PATIENCE)
    assert answer.status_code == 502
    assert sink.url in answer.json()["message"]


def test_seconds_behind_grows_until_everything_is_delivered(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink(decide=lambda _event: (503, {}))
    x.publish_many(2)
    settings = kit.searching(x, sink, lookback_seconds=3600, backoff_max_seconds=0.1)
    producer = kit.producer(**settings)
    wait_for(lambda: sink.refused)
    first = _seconds_behind(producer)
    assert first > 3590, "it would not count the look-back"
    wait_for(lambda: _seconds_behind(producer) > first)
    sink.decide = None
    wait_for(lambda: _seconds_behind(producer) < 60)
    x.control("PUT", "/credits", {"dollars": 0.0})
    producer.saying("no credits left")
    paused = _seconds_behind(producer)
    wait_for(lambda: _seconds_behind(producer) > paused)


def _seconds_behind(producer: Producer) -> float:
    metrics = requests.get(producer.url + "/metrics", timeout=PATIENCE).text
    [line] = [m for m in metrics.splitlines() if m.startswith("twitter_producer_seconds_behind ")]
    return float(line.split()[1])


def _store_checkpoint(kit: Kit, after: str) -> None:
    state = {
        "version": 1,
        "windows": [{"after": after}],
        "seen": {},
        "read": {},
        "floor": "0",
        "budget": {"day": "2026-01-01", "posts": 0, "ceiling": 0},
    }
    (kit.folder / "state.json").write_text(json.dumps(state))


def _id_made(seconds_ago: float) -> str:
    return str((int((time.time() - seconds_ago) * 1000) - 1288834974657) << 22)


def _iso(seconds_ago: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat()
