"""The day's budget, measured by what X's stand-in bills."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
import requests
from support.producer import PATIENCE, Kit, Producer, wait_for

from twitter_producer.budget import Budget, BudgetSpent
from twitter_producer.progress import Window

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
    state = requests.get(producer.url + "/status", timeout=PATIENCE).json()
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
    settings = kit.searching(x, sink, budget_posts=60, max_pages=1)

    def spent(producer: Producer) -> bool:
        return any("today's budget is spent" in message for message in producer.messages())

    for kill in range(10):
        producer = kit.producer(**settings)
        wait_for(lambda n=kill, p=producer: len(sink.refused) > n or spent(p))
        if spent(producer):
            break
        producer.kill()
        x.publish_many(50)
    assert spent(producer)
    assert x.bill()["billed"] <= 60


def test_answers_that_are_lost_count_until_they_are_known(kit: Kit) -> None:
    """Each is billed, and each poll finds other posts."""
    x, sink = kit.x(), kit.sink()
    settings = kit.searching(
        x, sink, budget_posts=100, x_timeout_seconds=0.3, poll_interval_seconds=0.01
    )
    x.fault("truncate", count=1000)
    producer = kit.producer(**settings)
    for number in range(6):
        x.publish_many(40)
        wait_for(lambda n=number: len(x.requests()) > n or "budget" in str(producer.messages()))
    producer.saying("today's budget is spent")
    assert x.bill()["billed"] <= 100
    shown = requests.get(producer.url + "/status", timeout=PATIENCE).json()["budget"]
    assert shown["unanswered"] > 0
    assert shown["left"] < 10
    assert producer.stop() == 0
    stored = json.loads((kit.folder / "state.json").read_text())["budget"]
    assert stored["ceiling"] > 90, "the shutdown forgot what may have been billed"
    x.control("DELETE", "/faults")
    again = kit.producer(**settings)
    again.saying("today's budget is spent")
    assert x.bill()["billed"] <= 100


def test_what_lost_answers_brought_is_free_again_when_it_has_been_read(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    x.publish_many(5)
    x.fault("truncate", count=2)
    producer = kit.producer(**kit.searching(x, sink, budget_posts=100, poll_interval_seconds=0.01))
    wait_for(lambda: len(sink.received) == 5)

    def budget() -> dict[str, int]:
        return requests.get(producer.url + "/status", timeout=PATIENCE).json()["budget"]

    wait_for(lambda: (budget()["unanswered"], budget()["posts"], budget()["left"]) == (0, 5, 95))


def test_budget_holds_for_both_days_when_midnight_comes_during_a_request(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    producer = kit.producer(**kit.searching(x, sink, budget_posts=100, overlap_seconds=0))
    wait_for(x.requests)
    x.fault("delay", seconds=1.5)
    now = datetime.now(UTC)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    x.control("PUT", "/clock", {"ahead_seconds": (midnight - now).total_seconds() - 0.5})
    x.publish_many(400)
    producer.saying("today's budget is spent")
    assert max(x.bill()["by_day"].values()) <= 100


def test_day_of_a_wrong_clock_does_not_stop_the_budget_from_restarting(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    state = {
        "version": 1,
        "windows": [{"start": (datetime.now(UTC) - timedelta(hours=1)).isoformat()}],
        "seen": {},
        "read": {},
        "floor": "0",
        "budget": {"day": "2099-01-01", "posts": 90, "ceiling": 90},
    }
    (kit.folder / "state.json").write_text(json.dumps(state))
    ids = x.publish_many(30)
    producer = kit.producer(**kit.searching(x, sink, budget_posts=100, max_results=10))
    producer.saying("today's budget is spent")
    assert x.bill()["billed"] == 10, "what was spent under the wrong day counts today"
    x.control("PUT", "/clock", {"ahead_seconds": 24 * 3600})
    assert producer.stop() == 0
    kit.producer(**kit.searching(x, sink, budget_posts=100, max_results=10))
    wait_for(lambda: len(sink.received) == 30)
    assert sorted(sink.ids) == sorted(ids)


def test_what_the_budget_left_unread_is_read_the_next_day(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    producer = kit.producer(**kit.searching(x, sink, budget_posts=100, max_results=50))
    wait_for(x.requests)  # it has to be at work before the day ends
    now = datetime.now(UTC)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    # So much of the day is left that a busy machine reads two pages in it.
    x.control("PUT", "/clock", {"ahead_seconds": (midnight - now).total_seconds() - 12})
    ids = x.publish_many(150)
    producer.saying("today's budget is spent")
    wait_for(lambda: len(sink.received) >= 100)
    assert sink.ids == ids[50:]
    wait_for(lambda: len(sink.received) == 150)
    assert sink.ids[100:] == ids[:50]
    assert sorted(x.bill()["by_day"].values()) == [50, 100]


def test_overlap_is_not_counted_twice_on_one_day(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    x.publish_many(40)
    producer = kit.producer(**kit.searching(x, sink, budget_posts=60))
    wait_for(lambda: x.bill()["reads"] > 100)
    assert producer.stop() == 0
    assert json.loads((kit.folder / "state.json").read_text())["budget"]["posts"] == 40


def test_spent_budget_ends_a_one_shot_run_with_an_error(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    x.publish_many(100)
    settings = kit.searching(x, sink, budget_posts=50, max_results=50, run_once="true")
    producer = kit.producer(**settings)
    assert producer.wait() == 1
    assert "budget" in producer.log[-1]["message"]
    assert len(sink.received) == 50


def _spent(budget: Budget, posts: int) -> None:
    budget.settle(budget.reserve(posts, NOON, least=1), posts)


def test_interval_grows_near_the_budget() -> None:
    budget = Budget(limit=1000, price=0.005, stretch_from=0.8)
    _spent(budget, 800)
    assert budget.stretch() == pytest.approx(1)
    _spent(budget, 100)
    assert budget.stretch() == pytest.approx(2)
    _spent(budget, 80)
    assert budget.stretch() == pytest.approx(10)
    assert budget.dollars == pytest.approx(4.9)


def test_reservation_counts_until_it_is_settled_or_known_to_have_cost_nothing() -> None:
    budget = Budget(limit=500, price=0.005)
    budget.enter_day(NOON)
    held = budget.reserve(100, NOON)
    assert (budget.ceiling, budget.left) == (100, 400)
    budget.settle(held, 7)
    assert (budget.ceiling, budget.posts) == (7, 7)
    budget.release(budget.reserve(100, NOON))
    assert budget.ceiling == 7
    budget.reserve(485, NOON)
    with pytest.raises(BudgetSpent, match="485 posts are held") as spent:
        budget.reserve(100, NOON)
    assert spent.value.until == datetime(2026, 5, 5, tzinfo=UTC)


def test_reservation_is_given_up_when_its_window_has_been_read() -> None:
    budget = Budget(limit=500, price=0.005)
    budget.enter_day(NOON)
    for window in (Window(after=10), Window(after=10, before=20), Window(after=5), None):
        budget.reserve(10, NOON).window = window
    budget.resolve(Window(after=10, before=20))
    assert budget.reserved == 30
    budget.resolve(Window(after=10))
    assert budget.reserved == 20


def test_reservation_counts_on_the_next_day_but_on_no_further_one() -> None:
    budget = Budget(limit=500, price=0.005)
    budget.enter_day(NOON)
    _spent(budget, 300)
    budget.reserve(100, NOON)
    assert budget.enter_day(NOON + timedelta(days=1))
    assert (budget.posts, budget.ceiling) == (0, 100)
    assert budget.enter_day(NOON + timedelta(days=2))
    assert budget.ceiling == 0


def test_reservation_of_a_stopped_process_counts_on_the_next_day_but_on_no_further_one() -> None:
    """Whatever the number of restarts in between."""
    budget = Budget(limit=500, price=0.005)
    budget.enter_day(NOON)
    budget.reserve(100, NOON)
    budget.stored = budget.ceiling
    ceilings = []
    for day in (0, 0, 1, 1, 2):
        again = Budget(limit=500, price=0.005)
        again.restore(budget.dump(), Window())
        again.enter_day(NOON + timedelta(days=day))
        ceilings.append(again.ceiling)
        again.stored = again.ceiling
        budget = again
    assert ceilings == [100, 100, 100, 100, 0]


def test_clock_set_back_over_midnight_leaves_each_day_its_limit() -> None:
    budget = Budget(limit=500, price=0.005)
    budget.enter_day(NOON)
    _spent(budget, 480)
    budget.enter_day(NOON + timedelta(days=1))
    assert budget.reserve(100, NOON).size == 100
    budget.reservations.clear()
    budget.enter_day(NOON)
    held = budget.reserve(100, NOON)
    assert held.size == 20
    budget.settle(held, 20)
    budget.enter_day(NOON + timedelta(days=1))
    assert budget.reserve(500, NOON).size == 480


def test_pages_shrink_with_each_answer_that_is_missing() -> None:
    budget = Budget(limit=1000, price=0.005)
    budget.enter_day(NOON)
    sizes = []
    for _ in range(5):
        sizes.append(budget.page(100))
        budget.reserve(sizes[-1], NOON)
    assert sizes == [100, 50, 25, 12, 10]


def test_clock_set_back_gives_no_new_day() -> None:
    budget = Budget(limit=500, price=0.005)
    assert budget.enter_day(NOON)
    _spent(budget, 400)
    assert not budget.enter_day(NOON - timedelta(days=1))
    assert budget.posts == 400
    assert budget.enter_day(NOON + timedelta(days=1))
    assert (budget.posts, budget.ceiling) == (0, 0)


def test_without_limit_nothing_is_refused() -> None:
    budget = Budget(limit=0, price=0.005)
    held = budget.reserve(100, datetime.fromtimestamp(time.time(), UTC))
    assert (held.size, budget.left, budget.stretch()) == (100, None, 1.0)
