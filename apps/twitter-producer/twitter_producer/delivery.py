"""Delivery of a batch of posts: oldest first, each until it is accepted or refused for good.

Order: a request is begun in the posts' order, and with DELIVERY_CONCURRENCY=1 only after the one
before has been accepted. With N, a post may be overtaken by at most N - 1 that follow it.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cloudevents.core.bindings.http import HTTPMessage
from cloudevents.core.v1.event import CloudEvent

from twitter_producer import events
from twitter_producer.dead_letter import DeadLetter
from twitter_producer.http_answers import printable
from twitter_producer.metrics import Metrics
from twitter_producer.posts import Post
from twitter_producer.settings import Settings
from twitter_producer.shutdown import Heartbeat, Shutdown
from twitter_producer.sink import Answer, Sink

log = logging.getLogger(__name__)

_LOG_EVERY_SECONDS = 30.0
_UNAVAILABLE = "the sink does not accept events; they are kept and sent again"
_UNAUTHORIZED = (
    "the sink refuses this producer's token; events are kept and sent again: "
    "set SINK_TOKEN_FILE to a file with the sink's write token, or renew the one in it"
)


@dataclass
class Deliverer:
    """Sends posts to the sink; what it refuses for good, or has no valid form, is a dead letter."""

    settings: Settings
    maker: events.EventMaker
    sink: Sink
    dead_letter: DeadLetter
    metrics: Metrics
    shutdown: Shutdown
    heartbeat: Heartbeat
    #: Whether this process may still deliver; asked before each attempt.
    holds_lease: Callable[[], bool] = lambda: True
    #: What the sink does not accept events for, at the moment.
    problem: str | None = None

    def deliver(self, posts: Sequence[Post]) -> list[bool]:
        """Return for each post whether it is settled; all are, unless the delivery was stopped."""
        size = self.settings.batch_size if self.settings.delivery_mode == "batch" else 1
        groups = [posts[i : i + size] for i in range(0, len(posts), size)]
        window = _Window(len(groups), self.settings.delivery_concurrency)
        workers = min(self.settings.delivery_concurrency, len(groups))
        if workers <= 1:
            self._work(groups, window)
        else:
            threads = [
                threading.Thread(target=self._work, args=(groups, window), name=f"delivery-{n}")
                for n in range(workers)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return [
            position < settled
            for group, settled in zip(groups, window.settled, strict=True)
            for position in range(len(group))
        ]

    def _work(self, groups: Sequence[Sequence[Post]], window: _Window) -> None:
        while not self.shutdown and (index := window.take()) is not None:
            settled = 0
            try:
                settled = self._deliver_group(groups[index])
            finally:
                window.finish(index, settled, whole=settled == len(groups[index]))

    def _deliver_group(self, group: Sequence[Post]) -> int:
        """Return how many posts, from the first on, are settled; fewer than all: it was stopped."""
        made = [self.maker.post(post) for post in group]
        try:
            answer = self._send_until_settled(events.message(self.settings.delivery_mode, made))
        except events.Unsendable as error:
            answer = Answer(0, printable(str(error)))
        if answer is None:
            return 0
        if answer.accepted:
            self.metrics.delivered.inc(len(group))
            return len(group)
        if len(group) == 1:
            return int(self._give_up(made[0], answer))
        for position, post in enumerate(group):  # one of them may be to blame: find out which
            if not self._deliver_group([post]):
                return position
        return len(group)

    def _send_until_settled(self, message: HTTPMessage) -> Answer | None:
        """Return the answer that accepts or refuses; None if the delivery was stopped first."""
        retries, complained = 0, -_LOG_EVERY_SECONDS
        while True:
            if not self.holds_lease():
                return None
            self.heartbeat.beat(self.settings.delivery_timeout_seconds)
            began = time.monotonic()
            answer = self.sink.send(message)
            self.metrics.delivery_seconds.observe(time.monotonic() - began)
            exhausted = 0 <= self.settings.delivery_retries <= retries and not answer.unauthorized
            if answer.accepted or not answer.retryable or exhausted:
                self.problem = None
                return answer
            wait = self._backoff(retries, answer.retry_after)
            retries += 1
            advice = _UNAUTHORIZED if answer.unauthorized else _UNAVAILABLE
            self.problem = f"{advice}: {answer.status or 'no answer'}: {answer.reason}"
            if time.monotonic() - complained > _LOG_EVERY_SECONDS:
                complained = time.monotonic()
                log.log(
                    logging.ERROR if answer.unauthorized else logging.WARNING,
                    advice,
                    extra={
                        "sink": self.sink.shown,
                        "status": answer.status,
                        "reason": answer.reason,
                        "attempt": retries,
                        "next_in_seconds": round(wait, 1),
                    },
                )
            if self._wait(wait):
                return None
            self.metrics.retried.inc()

    def abort(self) -> None:
        """End the attempts under way: there is no time left to wait for an answer."""
        self.sink.abort()
        self.dead_letter.abort()

    def _give_up(self, event: CloudEvent, answer: Answer) -> bool:
        log.error(
            "the sink refuses an event" if answer.status else "an event cannot be sent",
            extra={
                "sink": self.sink.shown,
                "status": answer.status,
                "reason": answer.reason,
                "id": event.get_id(),
            },
        )
        retries = 0
        while not self.dead_letter.put(event, answer):
            if self._wait(self._backoff(retries, None)):
                return False
            retries += 1
        self.metrics.dead_lettered.inc()
        return True

    def _wait(self, seconds: float) -> bool:
        self.heartbeat.beat(seconds)
        return self.shutdown.wait(seconds)

    def _backoff(self, retries: int, retry_after: float | None) -> float:
        """Return the wait before the next attempt: exponential, with jitter, and as asked for."""
        ceiling = min(
            self.settings.backoff_max_seconds,
            self.settings.backoff_seconds * 2.0 ** min(retries, 30),
        )
        wait = ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
        if retry_after is None:
            return wait
        return max(wait, min(retry_after, self.settings.retry_after_max_seconds))


@dataclass
class _Window:
    """Which groups are under way: at most `width` from the first that is not done."""

    count: int
    width: int
    settled: list[int] = field(init=False)
    _whole: list[bool] = field(init=False)
    _next: int = 0
    _first: int = 0
    _halted: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self.settled = [0] * self.count
        self._whole = [False] * self.count

    def take(self) -> int | None:
        """Return the next group to deliver once its turn has come; None: no more."""
        with self._changed:
            while not self._halted and self._next < self.count:
                if self._next < self._first + self.width:
                    self._next += 1
                    return self._next - 1
                self._changed.wait()
            return None

    def finish(self, index: int, settled: int, *, whole: bool) -> None:
        """Record that a group is settled as a whole, or that its delivery was stopped."""
        with self._changed:
            self.settled[index], self._whole[index] = settled, whole
            self._halted = self._halted or not whole
            while self._first < self.count and self._whole[self._first]:
                self._first += 1
            self._changed.notify_all()
