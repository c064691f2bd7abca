"""Rate limits and the bill, as X keeps them for an app."""

from __future__ import annotations

from collections import Counter
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
    used: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def take(self, endpoint: str, kind: str, now: datetime) -> dict[str, str]:
        """Count a request and return the headers that go with its answer; raises the 429."""
        key = (endpoint, kind)
        limit = self.limits[key]
        reset, used = self.used.get(key, (0, 0))
        if now.timestamp() >= reset:
            reset, used = int(now.timestamp()) + PERIOD_SECONDS, 0
        headers = {
            "x-rate-limit-limit": str(limit),
            "x-rate-limit-remaining": str(max(0, limit - used - 1)),
            "x-rate-limit-reset": str(reset),
        }
        if used >= limit:
            raise Problem(429, "Too Many Requests", "Too Many Requests", headers=headers)
        self.used[key] = (reset, used + 1)
        return headers


class Bill:
    """Posts and users read, each billed once per UTC day."""

    def __init__(self) -> None:
        self.credits: float | None = None
        self._reads = 0
        self._posts: set[tuple[str, int]] = set()
        self._users: set[tuple[str, str]] = set()

    def check(self) -> None:
        """Raise the 402 when the credits are used up."""
        if self.credits is not None and self.credits < PRICE_DOLLARS:
            text = "Your enrolled account does not have any credits to fulfill this request."
            raise Problem(402, "CreditsDepleted", text)

    def add(self, post_ids: Iterable[int], now: datetime) -> None:
        """Bill posts that are about to be returned."""
        read = [(_day(now), post_id) for post_id in post_ids]
        self._reads += len(read)
        self._charge(self._posts, read, PRICE_DOLLARS)

    def add_users(self, user_ids: Iterable[str], now: datetime) -> None:
        """Bill users that are about to be returned with posts."""
        self._charge(self._users, [(_day(now), user) for user in user_ids], USER_PRICE_DOLLARS)

    def _charge(self, billed: set[Any], read: list[Any], price: float) -> None:
        before = len(billed)
        billed.update(read)
        if self.credits is not None:
            self.credits -= (len(billed) - before) * price

    def report(self) -> dict[str, Any]:
        """Return the bill."""
        posts, users = len(self._posts), len(self._users)
        return {
            "reads": self._reads,
            "billed": posts,
            "users": users,
            "by_day": Counter(day for day, _ in self._posts),
            "dollars": round(posts * PRICE_DOLLARS + users * USER_PRICE_DOLLARS, 6),
            "credits": self.credits,
        }


def _day(now: datetime) -> str:
    return now.astimezone(UTC).date().isoformat()
