"""Alive means: the loop keeps its own promises."""

from __future__ import annotations

import time

import pytest

from twitter_producer.shutdown import Heartbeat


def test_a_promise_kept_is_no_trouble_and_a_broken_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    heartbeat = Heartbeat()
    heartbeat.beat(within=900)
    now[0] += 900 + Heartbeat.SLACK_SECONDS - 1
    assert heartbeat.late_by < 0
    now[0] += 2
    assert heartbeat.late_by == pytest.approx(1)
    heartbeat.beat()
    assert heartbeat.late_by < 0


def test_another_threads_short_promise_does_not_shorten_a_long_one() -> None:
    heartbeat = Heartbeat()
    heartbeat.beat(within=900)
    heartbeat.beat(within=1)
    assert heartbeat.late_by < -900
