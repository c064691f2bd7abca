"""The one retry policy of all requests, reads and discovery included.

| what happened | was it carried out? | sent again |
|---|---|---|
| no connection: refused, name unknown, proxy | no | always |
| 429 Too Many Requests, 503 Service Unavailable | no | always, after the server's Retry-After |
| connection reset or cut, no answer in time | perhaps | if repeating does no harm |
| 502, 504, and 500 in which etcd is between leaders or too slow | perhaps | if repeating does no harm |
| anything else | yes | never |

A server that has not answered at all yet is given up on sooner: most often its address is wrong.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from .client import Answer
from .errors import NoAnswer

NOT_CARRIED_OUT = (429, 503)
PERHAPS_CARRIED_OUT = (502, 504)
#: What the API server answers 500 with while etcd elects a leader or does not keep up.
ETCD = (b"etcdserver: ", b"etcd cluster is unavailable", b"rpc error: code = Unavailable")
LONGEST_ASKED_PAUSE = 120.0  # seconds that a server may ask to wait


@dataclass
class Retries:
    """The budget of each request of one client; safe to use from several threads.

    A request is sent again at most `attempts` times and for `seconds`, `first_contact` seconds while the
    server has never answered. `pause` doubles up to `longest_pause` seconds.
    """

    attempts: int = 20
    seconds: float = 60.0
    first_contact: float = 5.0
    pause: float = 0.25
    longest_pause: float = 5.0
    sleep: Callable[[float], None] = time.sleep
    transient: Callable[[Answer, bool], bool] | None = None
    asked_pause: Callable[[Answer], float] | None = None
    answered: threading.Event = field(default_factory=threading.Event)
    deadline: float | None = None  # by time.monotonic(); set while something is waited for

    def send(self, attempt: Callable[[], Answer], *, repeatable: bool) -> Answer:
        """Return the first answer that is not transient, or the last one; NoAnswer if there is none.

        `repeatable` is whether the request does no harm when it is carried out twice.
        """
        started = time.monotonic()
        number = 0
        while True:
            asked = 0.0
            try:
                answer = attempt()
            except NoAnswer as error:
                if not error.is_transient or (error.sent and not repeatable):
                    raise
                if not self._is_allowed(number, started, 0.0):
                    raise
            else:
                self.answered.set()
                if not (self.transient or is_transient)(answer, repeatable):
                    return answer
                asked = (self.asked_pause or retry_after)(answer)
                if not self._is_allowed(number, started, asked):
                    return answer
            backoff = min(self.pause * 2.0**number, self.longest_pause)
            self.sleep(asked or backoff * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            number += 1

    def _is_allowed(self, number: int, started: float, asked: float) -> bool:
        budget = self.seconds if self.answered.is_set() else min(self.first_contact, self.seconds)
        spent = time.monotonic() - started
        if self.deadline is not None:
            budget = min(budget, self.deadline - started)
        return number < self.attempts and spent + asked <= budget

    @contextmanager
    def until(self, deadline: float) -> Iterator[None]:
        """Send nothing again after `deadline` (by time.monotonic())."""
        before, self.deadline = self.deadline, deadline
        try:
            yield
        finally:
            self.deadline = before


def is_transient(answer: Answer, repeatable: bool) -> bool:
    """Return whether the same request may be answered otherwise a moment later."""
    if answer.status in NOT_CARRIED_OUT:
        return True
    if not repeatable:
        return False
    if answer.status == 500:
        return any(word in answer.data for word in ETCD)
    return answer.status in PERHAPS_CARRIED_OUT


def retry_after(answer: Answer) -> float:
    """Return the seconds that the server asks to wait (RFC 9110, section 10.2.3); 0 for none."""
    value = answer.headers.get("Retry-After", "")
    if value.isdigit():
        asked = float(value)
    elif moment := http_date(value):
        sent = http_date(answer.headers.get("Date", "")) or datetime.now(UTC)
        asked = (moment - sent).total_seconds()
    else:
        return 0.0
    return min(max(asked, 0.0), LONGEST_ASKED_PAUSE)


def http_date(value: str) -> datetime | None:
    """Return a date as headers have it (RFC 9110, section 5.6.7); None for what is not one."""
    try:
        return parsedate_to_datetime(value) if value else None
    except ValueError:
        return None
