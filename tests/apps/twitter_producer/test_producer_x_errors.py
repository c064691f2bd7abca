"""What X does, and what the producer makes of it."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from support.producer import PATIENCE, Kit, wait_for

SEARCH = "/2/tweets/search/recent"


def test_failures_of_x_pass(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    ids = x.publish_many(3)
    for fault in (
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 500},
        {"kind": "drop", "count": 2},
        {"kind": "truncate"},
        {"kind": "garbage"},
        {"kind": "delay", "seconds": 4},
    ):
        x.fault(**fault)
    settings = kit.searching(x, sink, x_timeout_seconds=3, poll_interval_seconds=0.01)
    producer = kit.producer(**settings)
    wait_for(lambda: sink.ids == ids)

    def errors() -> list[str]:
        return [e["error"] for e in producer.log if e.get("kind") == "Unavailable"]

    wait_for(lambda: len(errors()) >= 7)  # a thread reads the log
    assert len(errors()) == 7
    reading = requests.get(producer.url + "/status", timeout=PATIENCE).json()["reading"]
    assert reading == {"answered": True, "problem": None, "lasting": False, "failures": 0}
    for part in ("503", "500", "RemoteDisconnected", "cut off", "not JSON", "Timeout"):
        assert any(part in error for error in errors()), part


def test_failure_between_two_pages_costs_no_post(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    ids = x.publish_many(40)
    x.fault("delay", seconds=0)
    x.fault("delay", seconds=0)
    x.fault("status", status=503, count=2)
    producer = kit.producer(**kit.searching(x, sink, max_results=10))
    wait_for(lambda: len(sink.received) == 40)
    assert producer.stop() == 0
    assert sorted(sink.ids) == sorted(ids)
    assert sink.ids[:20] == ids[20:]


def test_end_that_comes_between_two_pages_is_not_kept_waiting(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    ids = x.publish_many(100)
    x.fault("delay", seconds=0.5, count=100)
    settings = kit.searching(x, sink, max_results=10)
    producer = kit.producer(**settings)
    wait_for(lambda: len(x.requests()) > 1)
    assert producer.stop() == 0
    assert len(x.requests()) < 10, "it read all that there was"
    assert sink.ids == []
    x.control("DELETE", "/faults")
    kit.producer(**settings)
    wait_for(lambda: len(sink.received) == 100)
    assert sorted(sink.ids) == sorted(ids)
    assert x.bill()["billed"] == 100


def test_rate_limit_is_waited_for_as_x_says(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    reset = int(time.time()) + 2
    x.fault("status", status=429, headers={"x-rate-limit-reset": str(reset)})
    x.publish_many(1)
    producer = kit.producer(**kit.searching(x, sink))
    wait_for(lambda: sink.received)
    assert time.time() >= reset
    assert producer.saying("rate limit")["kind"] == "RateLimited"
    assert requests.get(producer.url + "/healthz", timeout=PATIENCE).status_code == 200


def test_rate_limit_without_a_reset_ends_in_a_wait_not_in_a_crash(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    x.fault("status", status=429)
    producer = kit.producer(**kit.searching(x, sink))
    assert producer.saying("rate limit")["next_in_seconds"] >= 30
    reading = requests.get(producer.url + "/status", timeout=PATIENCE).json()["reading"]
    assert "X's rate limit is reached" in reading.pop("problem")
    assert reading == {"answered": False, "lasting": False, "failures": 1}
    assert producer.stop() == 0, "it waited until the grace period was over"


def test_no_credits_pauses_and_says_so(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    x.control("PUT", "/credits", {"dollars": 0.0})
    producer = kit.producer(**kit.searching(x, sink))
    entry = producer.saying("no credits left")
    assert entry["next_in_seconds"] >= 150
    assert requests.get(producer.url + "/healthz", timeout=PATIENCE).status_code == 200
    status = requests.get(producer.url + "/status", timeout=PATIENCE).json()
    assert "no credits left" in status["state"]
    assert "no credits left" in status["reading"]["problem"]
    assert status["reading"]["lasting"]
    assert not status["reading"]["answered"]
    assert len(x.requests()) == 1


def test_revoked_keys_are_read_again_at_once(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    folder = kit.folder / "keys"
    folder.mkdir()

    def mount() -> None:
        for name, key in x.keys.items():
            if name != "bearer_token":
                (folder / name).write_text(key + "\n")

    mount()
    x.publish_many(1)
    settings = kit.searching(x, sink, credentials="files", credentials_dir=folder)
    producer = kit.producer(**settings)
    wait_for(lambda: len(sink.received) == 1)
    polls = len(x.requests())
    wait_for(lambda: len(x.requests()) > polls)
    x.control("POST", "/keys")
    mount()
    x.publish_many(1)
    wait_for(lambda: len(sink.received) == 2)
    producer.saying("the credentials have changed")
    for key in x.keys.values():
        assert not any(key in json.dumps(entry) for entry in producer.log)


def test_wrong_keys_wait_and_say_what_to_do(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    producer = kit.producer(**kit.searching(x, sink, x_access_secret="wrong"))
    entry = producer.saying("X refuses the credentials")
    assert "oauth_signature" in entry["error"]
    assert entry["next_in_seconds"] >= 15
    assert requests.get(producer.url + "/healthz", timeout=PATIENCE).status_code == 200


def test_wrong_keys_end_a_one_shot_run(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    producer = kit.producer(**kit.searching(x, sink, x_access_secret="wrong", run_once="true"))
    assert producer.wait() == 1
    assert producer.log[-1]["severity"] == "CRITICAL"


def test_forbidden_is_told_from_refused(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    x.fault("status", status=403)
    producer = kit.producer(**kit.searching(x, sink))
    assert producer.saying("access level")["next_in_seconds"] >= 30


def test_query_that_x_refuses_ends_the_process(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    producer = kit.producer(**kit.searching(x, sink, topics="", query="knative nonsense:1"))
    assert producer.wait() == 2
    assert "unknown operator nonsense" in producer.log[-1]["message"]


def test_a_later_400_does_not_end_it(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    x.publish_many(1)
    producer = kit.producer(**kit.searching(x, sink))
    wait_for(lambda: sink.received)
    x.fault("status", status=400)
    producer.saying("X refuses the request")
    assert producer.running


def test_deployment_that_knows_only_the_older_field_names(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    x.publish_many(2)
    x.control("PUT", "/fields", {"spelling": "tweet.fields"})
    kit.producer(**kit.searching(x, sink))
    wait_for(lambda: len(sink.received) == 2)
    assert "created_at" in sink.received[0].data
    asked = [r["url"] for r in x.requests()]
    assert "post.fields" in asked[0]
    assert all("tweet.fields" in url for url in asked[1:])
    kit.xs.clear()  # the newest document, which the kit holds requests against, has no such name


def test_post_without_text_is_delivered_as_it_is(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    [post_id] = x.publish({"withheld": {"country_codes": ["XX"], "copyright": False}})
    producer = kit.producer(**kit.searching(x, sink))
    wait_for(lambda: sink.ids == [post_id])
    assert "text" not in sink.received[0].data
    assert producer.saying("has no text")["id"] == post_id
    metrics = requests.get(producer.url + "/metrics", timeout=PATIENCE).text
    assert "twitter_producer_without_text_total 1.0" in metrics


def test_clock_that_differs_from_xs_is_reported_and_xs_counts(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    x.control("PUT", "/clock", {"ahead_seconds": 3 * 24 * 3600})
    x.publish_many(2)
    producer = kit.producer(**kit.searching(x, sink))
    wait_for(lambda: len(sink.received) == 2)
    drift = producer.saying("clock differs from X's")["drift_seconds"]
    assert drift == pytest.approx(-3 * 24 * 3600, abs=5)
    day = (datetime.now(UTC) + timedelta(days=3)).date().isoformat()
    wait_for(
        lambda: (
            requests.get(producer.url + "/status", timeout=PATIENCE).json()["budget"]["day"] == day
        )
    )


def test_clock_that_jumps_back_gives_no_second_budget_for_a_day(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    producer = kit.producer(**kit.searching(x, sink))

    def deliver(count: int) -> None:
        sink.received.clear()
        ids = x.publish_many(count)
        wait_for(lambda: sink.ids == ids)

    def budget() -> dict[str, Any]:
        return requests.get(producer.url + "/status", timeout=PATIENCE).json()["budget"]

    now = datetime.now(UTC)
    tomorrow = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    ahead = (tomorrow - now).total_seconds() + 60
    deliver(2)
    x.control("PUT", "/clock", {"ahead_seconds": ahead})
    wait_for(lambda: budget()["day"] == tomorrow.date().isoformat())
    deliver(3)
    spent = budget()["posts"]
    assert spent >= 3
    x.control("PUT", "/clock", {"ahead_seconds": ahead - 600})
    polls = len(x.requests())
    wait_for(lambda: len(x.requests()) > polls + 1)
    deliver(1)
    assert budget()["day"] == tomorrow.date().isoformat()
    assert budget()["posts"] > spent


def test_deleted_post_is_not_delivered(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    ids = x.publish_many(3)
    x.control("DELETE", f"/posts/{ids[1]}")
    kit.producer(**kit.searching(x, sink))
    wait_for(lambda: len(sink.received) == 2)
    assert sink.ids == [ids[0], ids[2]]
