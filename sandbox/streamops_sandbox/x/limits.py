"""Rate limits and the bill, as X keeps them for an app."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from streamops_sandbox.x.problems import Problem

PERIOD_SECONDS = 15 * 60
PRICE_DOLLARS = 0.005
USER_PRICE_DOLLARS = 0.010
#: (endpoint, kind of caller) → requests per 15 minutes; https://docs.x.com/x-api/fundamentals/rate-limits.
LIMITS = {
    ("search", "app"): 450,
    ("search", "user"): 300,
    ("stream", "app"): 50,
    ("rules", "app"): 450,
    ("rules-change", "app"): 100,
    ("compliance", "app"): 150,
}


@dataclass
class RateLimits:
    """Requests in the current period of 15 minutes, per endpoint and kind of caller."""

    limits: dict[tuple[str, str], int] = field(default_factory=lambda: dict(LIMITS))
    _used: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def take(self, endpoint: str, kind: str, now: datetime) -> dict[str, str]:
        """Count a request and return the headers that go with its answer; raises the 429."""
        key = (endpoint, kind)
        limit = self.limits[key]
        reset, used = self._used.get(key, (0, 0))
        if now.timestamp() >= reset:
            reset, used = int(now.timestamp()) + PERIOD_SECONDS, 0
        headers = {
            "x-rate-limit-limit": str(limit),
            "x-rate-limit-remaining": str(max(0, limit - used - 1)),
            "x-rate-limit-reset": str(reset),
        }
        if used >= limit:
            raise Problem(429, "Too Many Requests", "Too Many Requests", headers=headers)
        self._used[key] = (reset, used + 1)
        return headers

    def forget(self) -> None:
        """Start every period anew."""
        self._used.clear()


@dataclass
class Bill:
    """Posts and users read, each billed once per UTC day."""

    credits: float | None = None
    reads: int = 0
    billed: dict[str, set[int]] = field(default_factory=dict)
    users: dict[str, set[str]] = field(default_factory=dict)

    def check(self) -> None:
        """Raise the 402 when the credits are used up."""
        if self.credits is not None and self.credits < PRICE_DOLLARS:
            text = "Your enrolled account does not have any credits to fulfill this request."
            raise Problem(402, "CreditsDepleted", text)

    def add(self, post_ids: Iterable[int], now: datetime) -> None:
        """Bill posts that are about to be returned."""
        ids = list(post_ids)
        self.reads += len(ids)
        self._charge(self.billed.setdefault(_day(now), set()), ids, PRICE_DOLLARS)

    def add_users(self, user_ids: Iterable[str], now: datetime) -> None:
        """Bill users that are about to be returned with posts."""
        self._charge(self.users.setdefault(_day(now), set()), user_ids, USER_PRICE_DOLLARS)

    def _charge(self, today: set[Any], ids: Iterable[Any], price: float) -> None:
        before = len(today)
        today.update(ids)
        if self.credits is not None:
            self.credits -= (len(today) - before) * price

    def report(self) -> dict[str, Any]:
        """Return the bill."""
        days = {day: len(ids) for day, ids in self.billed.items()}
        users = sum(map(len, self.users.values()))
        dollars = round(sum(days.values()) * PRICE_DOLLARS + users * USER_PRICE_DOLLARS, 6)
        return {
            "reads": self.reads,
            "billed": sum(days.values()),
            "users": users,
            "by_day": days,
            "dollars": dollars,
            "credits": self.credits,
        }


def _day(now: datetime) -> str:
    return now.astimezone(UTC).date().isoformat()
