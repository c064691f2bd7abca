"""Every post arrives, whatever breaks: 200 rounds of random faults on both sides.

Set FAULT_SEED to repeat a run, FAULT_ROUNDS for another number of rounds.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable

import pytest
import requests
from support.producer import Kit, Producer, Received, Sink, X, wait_for

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "200"))
PER_ROUND = 4


class Faults:
    """One method a fault; each returns after it has struck."""

    def __init__(self, kit: Kit, x: X, sink: Sink, settings: dict[str, object]) -> None:
        self._kit, self._x, self._sink, self._settings = kit, x, sink, settings
        self.random = random.Random(os.environ.get("FAULT_SEED", "knative"))
        self.producer: Producer = kit.producer(**settings)
        self.kills: list[float] = []
        self.all: list[tuple[Callable[[], None], int]] = [
            (self.kill, 4),
            (self.terminate, 4),
            (self.sink_drops, 6),
            (self.sink_refuses_for_now, 6),
            (self.sink_hangs, 1),
            (self.x_answers_with_an_error, 6),
            (self.x_throttles, 2),
            (self.x_drops, 6),
            (self.x_breaks_off, 4),
            (self.x_hangs, 2),
            (self.nothing, 4),
        ]

    def strike(self) -> None:
        methods, weights = zip(*self.all, strict=True)
        self.random.choices(methods, weights)[0]()

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
        status = self.random.choice([404, 408, 409, 429, 500, 502, 503, 504])
        self._sink.answers += [(status, {"Retry-After": "0"})] * self.random.randint(1, 4)

    def sink_hangs(self) -> None:
        self._sink.answers.append((500, {"sleep": "1.1"}))

    def x_answers_with_an_error(self) -> None:
        self._x.fault("status", status=self.random.choice([500, 502, 503]))

    def x_throttles(self) -> None:
        reset = str(int(time.time()))
        self._x.fault("status", status=429, headers={"x-rate-limit-reset": reset})

    def x_drops(self) -> None:
        self._x.fault("drop")

    def x_breaks_off(self) -> None:
        self._x.fault(self.random.choice(["truncate", "garbage"]))

    def x_hangs(self) -> None:
        self._x.fault("delay", seconds=0.6)

    def nothing(self) -> None:
        pass


@pytest.mark.timeout(300)
def test_no_post_is_lost_and_only_kills_make_duplicates(kit: Kit, viewer: str) -> None:
    x, sink = kit.x(), kit.sink()
    settings = kit.searching(
        x,
        sink,
        poll_interval_seconds=0.03,
        x_timeout_seconds=0.4,
        delivery_timeout_seconds=1,
        backoff_max_seconds=0.1,
        max_results=10,
        max_pages=2,
        budget_posts=0,
    )
    faults = Faults(kit, x, sink, settings)
    ids: list[str] = []
    for number in range(ROUNDS):
        ids += x.publish(*({"text": f"{number}.{n} \"'\n🐦"} for n in range(PER_ROUND)))
        faults.strike()
        time.sleep(0.03)
    x.control("DELETE", "/faults")
    sink.answers.clear()
    expected = set(ids)
    wait_for(lambda: set(sink.ids) >= expected, 60, lambda: f"{len(sink.received)} received")
    assert faults.producer.stop() == 0
    _check(sink.received, ids, faults.kills)
    for event in sink.received:
        assert sink.hand_on(event, viewer) < 300
    assert Counter(_shown(viewer)) == Counter(ids)


def _check(received: list[Received], ids: list[str], kills: list[float]) -> None:
    """None missing, nothing else; a repetition only if a kill lies between the two."""
    first: dict[str, float] = {}
    for event in received:
        if event.id in first:
            between = [kill for kill in kills if first[event.id] <= kill <= event.at]
            assert between, f"{event.id} came twice without a kill"
        first[event.id] = event.at
    assert set(first) == set(ids)
    assert {event.headers["ce-source"] for event in received} == {"https://x.com"}


def _shown(viewer: str) -> list[str]:
    answer = requests.get(f"{viewer}/api/events?limit=1000", timeout=10).json()
    return [record["event"]["id"] for record in answer["events"]]
