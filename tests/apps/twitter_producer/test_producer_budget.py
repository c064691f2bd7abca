"""The day's budget, measured by what X's stand-in bills."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
import requests
from support.producer import Kit, wait_for

from twitter_producer.budget import Budget, BudgetSpent

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def test_at_most_the_budget_is_billed_over_restarts(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    ids = x.publish_many(2000)
    settings = kit.searching(x, sink, budget_posts=500, max_pages=2)
    for more in (50, 50):
        producer = kit.producer(**settings)
        before = len(sink.received)
        wait_for(lambda upto=before + more: len(sink.received) >= upto)
        assert producer.stop() == 0
    producer = kit.producer(**settings)
    producer.saying("today's budget is spent")
    state = requests.get(producer.url + "/status", timeout=5).json()
    assert state["budget"]["left"] < 10
    assert "budget" in state["state"]
    assert producer.stop() == 0
    assert x.bill()["billed"] <= 500
    assert len(sink.received) == len(set(sink.ids)) <= 500
    assert len(set(sink.ids)) >= 490
    assert set(sink.ids) < set(ids)


def test_at_most_the_budget_is_billed_over_kills(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink(decide=lambda _event: (503, {"Retry-After": "60"}))
    x.publish_many(2000)
    settings = kit.searching(x, sink, budget_posts=500, max_pages=2)
    for kill in range(3):
        producer = kit.producer(**settings)
        wait_for(lambda kill=kill: len(sink.refused) > kill)
        producer.kill()
        x.publish_many(200)
    assert x.bill()["billed"] <= 500
    producer = kit.producer(**settings)
    producer.saying("today's budget is spent")


def test_what_the_budget_left_unread_is_read_the_next_day(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    producer = kit.producer(**kit.searching(x, sink, budget_posts=100, max_results=50))
    wait_for(x.requests)  # it has to be at work before the day ends
    now = datetime.now(UTC)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    x.control("PUT", "/clock", {"ahead_seconds": (midnight - now).total_seconds() - 4})
    ids = x.publish_many(150)
    producer.saying("today's budget is spent")
    assert sink.ids == ids[50:]
    wait_for(lambda: len(sink.received) == 150)
    assert sink.ids[100:] == ids[:50]
    assert sorted(x.bill()["by_day"].values()) == [50, 100]


def test_overlap_is_not_counted_twice_on_one_day(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    x.publish_many(40)
    producer = kit.producer(**kit.searching(x, sink, budget_posts=60))
    wait_for(lambda: len(x.requests()) > 5)
    assert producer.stop() == 0
    assert x.bill()["reads"] > 100
    assert json.loads((kit.folder / "state.json").read_text())["budget"]["posts"] == 40


def test_spent_budget_ends_a_one_shot_run_with_an_error(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    x.publish_many(100)
    settings = kit.searching(x, sink, budget_posts=50, max_results=50, run_once="true")
    producer = kit.producer(**settings)
    assert producer.wait() == 1
    assert "budget" in producer.log[-1]["message"]
    assert len(sink.received) == 50


def test_interval_grows_near_the_budget() -> None:
    budget = Budget(limit=1000, price=0.005, stretch_from=0.8)
    budget.count(800)
    assert budget.stretch() == pytest.approx(1)
    budget.count(100)
    assert budget.stretch() == pytest.approx(2)
    budget.count(80)
    assert budget.stretch() == pytest.approx(10)
    assert budget.dollars == pytest.approx(4.9)


def test_ceiling_covers_what_a_request_may_cost() -> None:
    budget = Budget(limit=500, price=0.005)
    budget.enter_day(NOON)
    assert budget.page(100, NOON) == 100
    assert budget.reserve(100)
    assert budget.ceiling == 100
    budget.count(7)
    assert budget.reserve(100)
    assert not budget.reserve(93)
    budget.count(485)
    with pytest.raises(BudgetSpent) as spent:
        budget.page(100, NOON)
    assert spent.value.until == datetime(2026, 5, 5, tzinfo=UTC)


def test_clock_set_back_gives_no_new_day() -> None:
    budget = Budget(limit=500, price=0.005)
    assert budget.enter_day(NOON)
    budget.count(400)
    assert not budget.enter_day(NOON - timedelta(days=2))
    assert budget.posts == 400
    assert budget.enter_day(NOON + timedelta(days=1))
    assert (budget.posts, budget.ceiling) == (0, 0)


def test_without_limit_nothing_is_reserved() -> None:
    budget = Budget(limit=0, price=0.005)
    assert budget.page(100, datetime.fromtimestamp(time.time(), UTC)) == 100
    assert not budget.reserve(100)
    assert (budget.left, budget.stretch()) == (None, 1.0)
