"""Advice and back-off for each error of a source."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime

from twitter_producer.errors import (
    BadRequest,
    CreditsDepleted,
    Forbidden,
    RateLimited,
    Refused,
    SourceError,
)

_RATE_LIMIT_PERIOD = 15 * 60.0
_RATE_LIMIT_UNKNOWN = 60.0


@dataclass(frozen=True)
class Policy:
    """Advice for the log, with the first and longest wait in seconds."""

    advice: str
    first: float
    longest: float


#: Errors that need an action outside of this program.
LASTING: dict[type[SourceError], Policy] = {
    CreditsDepleted: Policy(
        "X has no credits left for this account: buy credits at console.x.com; paused", 300, 3600
    ),
    Refused: Policy("{} refuses the credentials: renew them where CREDENTIALS says", 30, 900),
    Forbidden: Policy("{} forbids this with these credentials: check the access level", 60, 900),
    BadRequest: Policy("{} refuses the request", 60, 900),
}


def lasting(error: SourceError) -> Policy | None:
    """Return the policy of an error that needs an action; None: it passes by itself."""
    return next((s for kind, s in LASTING.items() if isinstance(error, kind)), None)


def advice(error: SourceError, title: str) -> str:
    """Return the advice for the log; `title` is the network's name."""
    if isinstance(error, RateLimited):
        return f"{title}'s rate limit is reached"
    policy = lasting(error)
    return policy.advice.format(title) if policy else f"{title} did not answer as expected"


def wait(error: SourceError, failures: int, interval: float, now: datetime) -> float:
    """Return the seconds until the next try, after so many failures in a row.

    A rate limit lasts as long as the network says; everything else backs off exponentially, with jitter.
    """
    if isinstance(error, RateLimited):
        if error.reset is None:
            return _RATE_LIMIT_UNKNOWN
        return min(max(error.reset - now.timestamp() + 1, 1.0), _RATE_LIMIT_PERIOD + 60)
    policy = lasting(error) or Policy("", min(1.0, interval), 120)
    seconds = min(policy.longest, policy.first * 2.0 ** min(failures, 20))
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
