"""Every post arrives and the budget holds, whatever breaks: rounds of random faults.

FAULT_ROUNDS is the number of rounds (`make soak` has more), FAULT_SEED repeats a run: it is printed.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from support.producer import PATIENCE, Kit, Producer, Received, Sink, X, wait_for
from support.producer_cluster import Cluster

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "40"))
#: `make soak` tries others.
SEED = os.environ.get("FAULT_SEED") or (
    secrets.token_hex(4) if "FAULT_ROUNDS" in os.environ else "streamops"
)
PER_ROUND = 4
X_TIMEOUT, DELIVERY_TIMEOUT = 1.0, 5.0
BATCH = 20
#: X forgets posts after 7 days.
MIDNIGHTS = 3

pytestmark = pytest.mark.timeout(60 + 3 * ROUNDS)


class Faults:
    """One method a fault; each returns after it has struck."""

    def __init__(self, kit: Kit, x: X, sink: Sink, settings: dict[str, Any], seed: str) -> None:
        self._kit, self._x, self._sink, self._settings = kit, x, sink, settings
        self.random = random.Random(seed)
        self.producer: Producer = kit.producer(**settings)
        self.kills: list[float] = []
        self.struck: Counter[str] = Counter()
        self.all: list[tuple[Callable[[], None], int]] = [
            (self.kill, 4),
            (self.terminate, 4),
            (self.sink_drops, 6),
            (self.sink_refuses_for_now, 6),
            (self.sink_hangs, 1),
            (self.x_answers_with_an_error, 6),
            (self.x_throttles, 2),
            (self.x_drops, 6),
            (self.x_breaks_off, 6),
            (self.x_hangs, 2),
            (self.nothing, 4),
        ]

    def strike(self) -> None:
        methods, weights = zip(*self.all, strict=True)
        method = self.random.choices(methods, weights)[0]
        self.struck[method.__name__] += 1
        method()

    def kill(self) -> None:
        time.sleep(self.random.uniform(0, 0.6))
        self.producer.kill()
        self.kills.append(time.monotonic())
        self.producer = self._kit.producer(**self._settings)

    def terminate(self) -> None:
        time.sleep(self.random.uniform(0.2, 0.6))
        # -SIGTERM: it was asked to end before Python had come to its handler.
        assert self.producer.stop() in (0, -signal.SIGTERM), self.producer.log
        self.producer = self._kit.producer(**self._settings)

    def sink_drops(self) -> None:
        self._sink.answers += [(0, {})] * self.random.randint(1, 4)

    def sink_refuses_for_now(self) -> None:
        status = self.random.choice([401, 403, 404, 408, 409, 429, 500, 502, 503, 504])
        self._sink.answers += [(status, {"Retry-After": "0"})] * self.random.randint(1, 4)

    def sink_hangs(self) -> None:
        self._sink.answers.append((500, {"sleep": str(DELIVERY_TIMEOUT + 0.2)}))

    def x_answers_with_an_error(self) -> None:
        self._x.fault("status", status=self.random.choice([500, 502, 503]))

    def x_throttles(self) -> None:
        reset = str(int(self._x_now().timestamp()))
        self._x.fault("status", status=429, headers={"x-rate-limit-reset": reset})

    def x_drops(self) -> None:
        self._x.fault("drop", path=self.random.choice(["/", "/2/tweets"]))

    def x_breaks_off(self) -> None:
        """The answer is billed, and lost."""
        self._x.fault(self.random.choice(["truncate", "garbage"]))

    def x_hangs(self) -> None:
        """The answer is billed, and comes too late."""
        self._x.fault("delay", seconds=X_TIMEOUT + 0.2)

    def nothing(self) -> None:
        pass

    def _x_now(self) -> datetime:
        return datetime.now(UTC)


class ClockFaults(Faults):
    """The same with X's clock, which begins up to six hours apart from this machine's."""

    def __init__(self, kit: Kit, x: X, sink: Sink, settings: dict[str, Any], seed: str) -> None:
        self._ahead = random.Random(seed).uniform(-6, 6) * 3600
        self.midnights = 0
        x.control("PUT", "/clock", {"ahead_seconds": self._ahead})
        super().__init__(kit, x, sink, settings, seed)
        self.all += [(self.midnight, 4), (self.clock_is_set_back, 2)]

    def midnight(self) -> None:
        """Let the day end in a moment."""
        if self.midnights < MIDNIGHTS:
            wait_for(self._asks_or_rests, explain=lambda: str(self.producer.log))
            self.next_day(self.random.uniform(0, 0.5))

    def _asks_or_rests(self) -> bool:
        """Whether the producer has come to its work; on a spent budget it asks for nothing."""
        status = requests.get(self.producer.url + "/status", timeout=PATIENCE).json()
        return bool(status["counters"]["polls"]) or _spent(self.producer)

    def next_day(self, in_seconds: float) -> None:
        self.midnights += 1
        now = self._x_now()
        tomorrow = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        self._ahead += (tomorrow - now).total_seconds() - in_seconds
        self._x.control("PUT", "/clock", {"ahead_seconds": self._ahead})

    def _x_now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._ahead)

    def clock_is_set_back(self) -> None:
        self._ahead -= self.random.uniform(0, 3)
        self._x.control("PUT", "/clock", {"ahead_seconds": self._ahead})


@pytest.fixture
def seed() -> str:
    """The seed of the faults, shown where a test fails."""
    print(f"FAULT_SEED={SEED} FAULT_ROUNDS={ROUNDS}")
    return SEED


def _settings(kit: Kit, x: X, sink: Sink, **more: Any) -> dict[str, Any]:
    return kit.searching(
        x,
        sink,
        poll_interval_seconds=0.03,
        x_timeout_seconds=X_TIMEOUT,
        # An answer that comes later although the post was taken would bring it twice.
        delivery_timeout_seconds=DELIVERY_TIMEOUT,
        backoff_max_seconds=0.1,
        max_results=10,
        max_pages=BATCH // 10,
        **more,
    )


def _strike(faults: Faults, x: X) -> list[str]:
    ids: list[str] = []
    for number in range(ROUNDS):
        ids += x.publish(*({"text": f"{number}.{n} \"'\n🐦"} for n in range(PER_ROUND)))
        faults.strike()
        time.sleep(0.03)
    x.control("DELETE", "/faults")
    return ids


def test_no_post_is_lost_and_only_kills_make_duplicates(kit: Kit, viewer: str, seed: str) -> None:
    x, sink = kit.x(), kit.sink()
    faults = Faults(kit, x, sink, _settings(kit, x, sink, budget_posts=0), seed)
    ids = _strike(faults, x)
    sink.answers.clear()
    expected = set(ids)
    wait_for(lambda: set(sink.ids) >= expected, explain=lambda: f"{len(sink.received)} received")
    assert faults.producer.stop() == 0
    _check(sink.received, ids, faults.kills)
    for event in sink.received:
        assert sink.hand_on(event, viewer) < 300
    total, shown = _shown(viewer)
    assert total == len(ids)
    assert shown <= expected
    _report(x, sink, faults)


def test_no_post_is_lost_where_kubernetes_loses_answers(kit: Kit, seed: str) -> None:
    x, sink, cluster = kit.x(), kit.sink(), Cluster(kit)
    proxy = cluster.behind_proxy()
    chance = random.Random(seed)
    kinds = ["lose", "drop", (500, {}), (429, {"Retry-After": "0"})]
    proxy.decide = lambda _method, _path: chance.choice(kinds) if chance.random() < 0.1 else None
    settings = {**_settings(kit, x, sink, budget_posts=0), **cluster.settings(x, sink)}
    settings |= {"lease": "producer", "lease_duration_seconds": 6, "pod_name": "pod-1"}
    for name in ("poll_interval_seconds", "max_results", "max_pages", "backoff_max_seconds"):
        settings[name] = _settings(kit, x, sink)[name]
    del settings["state_file"]
    faults = Faults(kit, x, sink, settings, seed)
    ids = _strike(faults, x)
    sink.answers.clear()
    expected = set(ids)
    wait_for(lambda: set(sink.ids) >= expected, explain=lambda: str(faults.producer.log[-5:]))
    assert faults.producer.stop() == 0
    _check(sink.received, ids, faults.kills)
    _report(x, sink, faults)
    kit.loop.run(cluster.server.stop())


def test_budget_of_each_day_holds_over_kills_lost_answers_midnights_and_clocks(
    kit: Kit, seed: str
) -> None:
    x, sink = kit.x(), kit.sink()
    limit = max(40, ROUNDS * PER_ROUND // 2)
    # The overlap costs anew on each day, and a producer that is killed early begins anew.
    more = {"overlap_seconds": 0.5, "lookback_seconds": 6 * 24 * 3600}
    settings = _settings(kit, x, sink, budget_posts=limit, **more)
    faults = ClockFaults(kit, x, sink, settings, seed)
    ids = _strike(faults, x)
    sink.answers.clear()
    expected = set(ids)
    while not set(sink.ids) >= expected:
        before = len(sink.received)
        faults.producer.saying("")
        wait_for(
            lambda n=before: set(sink.ids) >= expected or _spent(faults.producer),
            explain=lambda: f"{len(set(sink.ids))} of {len(expected)}: {faults.producer.log[-3:]}",
        )
        if not set(sink.ids) >= expected:
            assert faults.midnights < 6, f"{len(set(sink.ids))} of {len(expected)} on {x.bill()}"
            faults.producer.stop()
            faults.next_day(0)
            faults.producer = kit.producer(**settings)
    assert faults.producer.stop() == 0
    _check(sink.received, ids, faults.kills)
    days = x.bill()["by_day"]
    assert max(days.values()) <= limit, days
    _report(x, sink, faults)


def _spent(producer: Producer) -> bool:
    return any("today's budget is spent" in message for message in producer.messages())


def _check(received: list[Received], ids: list[str], kills: list[float]) -> None:
    """None missing, nothing else; a repetition only after a kill, at most one batch for each."""
    first: dict[str, float] = {}
    repeated: Counter[float] = Counter()
    for event in received:
        if event.id in first:
            between = [kill for kill in kills if first[event.id] <= kill <= event.at]
            assert between, f"{event.id} came twice without a kill"
            repeated[between[-1]] += 1
        first[event.id] = event.at
    assert set(first) == set(ids)
    assert max(repeated.values(), default=0) <= BATCH, repeated
    assert {event.headers["ce-source"] for event in received} == {"https://x.com"}


def _report(x: X, sink: Sink, faults: Faults) -> None:
    repeated = len(sink.received) - len(set(sink.ids))
    print(
        f"{ROUNDS} rounds, seed {SEED}: {len(set(sink.ids))} posts, 0 lost, {repeated} repeated "
        f"after {len(faults.kills)} kills; billed by day {x.bill()['by_day']}; {dict(faults.struck)}"
    )


def _shown(viewer: str) -> tuple[int, set[str]]:
    """Return how many events the viewer has, and the ids of the newest."""
    answer = requests.get(f"{viewer}/api/events?limit=1000", timeout=PATIENCE).json()
    return answer["total"], {record["event"]["id"] for record in answer["events"]}
