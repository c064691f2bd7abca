"""The loop: read, deliver, then move the checkpoint."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from twitter_producer import credentials, events, setbacks
from twitter_producer.budget import SMALLEST_PAGE, Budget, BudgetSpent
from twitter_producer.clock import XClock
from twitter_producer.credentials import CredentialsError
from twitter_producer.deadletter import destination
from twitter_producer.delivery import Deliverer
from twitter_producer.keeper import Keeper
from twitter_producer.keyring import Keyring
from twitter_producer.lag import Lag
from twitter_producer.metrics import Metrics
from twitter_producer.progress import Batch, Post, Progress
from twitter_producer.settings import Settings
from twitter_producer.sink import Sink
from twitter_producer.sources import Source
from twitter_producer.sources.replay import ReplaySource
from twitter_producer.sources.search import SearchSource
from twitter_producer.sources.stream import StreamSource
from twitter_producer.stopping import Heartbeat, Stop
from twitter_producer.stores import Conflict, Store, StoreError
from twitter_producer.x import BadRequest, Refused, SinceIdTooOld, XApi, XError

log = logging.getLogger(__name__)

_LONGEST_REST = 60.0


class Fatal(Exception):
    """The process has to end with this exit code and message."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class Producer:
    """Ties source, delivery, budget and checkpoint together."""

    def __init__(self, settings: Settings, store: Store, stop: Stop, heartbeat: Heartbeat) -> None:
        self._settings, self._stop, self._heartbeat = settings, stop, heartbeat
        self.metrics = Metrics()
        self._clock = XClock()
        self._budget = Budget(
            settings.budget_posts, settings.budget_price, settings.budget_stretch_from
        )
        self._keeper = Keeper(settings, store, self._budget, self.metrics, stop, heartbeat)
        self._maker = events.EventMaker(
            settings.event_source, settings.event_type, settings.overrides
        )
        self._sink = Sink(settings.k_sink, settings)
        self._deliverer = Deliverer(
            settings,
            self._maker,
            self._sink,
            destination(settings, self._maker),
            self.metrics,
            stop,
            heartbeat,
        )
        self._api = XApi(settings.x_api_url, settings.x_timeout_seconds, self._clock)
        self._keyring = Keyring(settings, credentials.reader(settings), self._api)
        self._source = self._make_source()
        self._progress = Progress.begin(self._clock.now())
        self._lag = Lag(self._clock, self.metrics.seconds_behind)
        self._failures = 0
        self._answered = False
        self.starting: str | None = "the checkpoint has not been read yet"
        self._pausing: str | None = None

    # What the server shows

    @property
    def trouble(self) -> str | None:
        """Why the process should be restarted."""
        late = self._heartbeat.late_by
        return f"the loop is {late:.0f} s late" if late > 0 else None

    def status(self) -> dict[str, Any]:
        """Return what people want to know."""
        counters = ("polls", "posts", "delivered", "retried", "dead_lettered", "duplicates")
        return {
            "pipeline": self._settings.pipeline,
            "source": self._settings.source,
            "query": self._settings.query or None,
            "sink": self._settings.k_sink,
            "event_source": self._settings.event_source,
            "state": self.starting or self._pausing or "running",
            "counters": {name: self.metrics.value(f"{name}_total") for name in counters},
            "checkpoint": self._progress.describe(),
            "budget": {
                "day": self._budget.day,
                "posts": self._budget.posts,
                "left": self._budget.left,
                "dollars": round(self._budget.dollars, 4),
            },
        }

    def probe(self, event_id: str) -> tuple[int, dict[str, Any]]:
        """Send one recognisable event to the sink, in one attempt."""
        sent = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        data = {"pipeline": self._settings.pipeline, "sent": sent}
        event = self._maker.probe(event_id, data)
        began = time.monotonic()
        answer = self._sink.send(events.MODES[self._settings.delivery_mode]([event]))
        told = {
            "id": event_id,
            "source": self._maker.source,
            "type": events.PROBE_TYPE,
            "sink": self._sink.url,
            "status": answer.status,
            "seconds": round(time.monotonic() - began, 4),
        }
        if answer.accepted:
            return 200, told
        said = f"answered {answer.status}" if answer.status else "did not answer"
        return 502, told | {"message": f"{self._sink.url} {said}: {answer.reason}"}

    # The loop

    def run(self) -> int:
        """Work until the end is asked for (or, for one pass, reached); return the exit code."""
        try:
            return self._work()
        except Conflict as error:
            raise Fatal(f"another producer writes the same checkpoint: {error}", 3) from error
        except StoreError as error:
            raise Fatal(f"the checkpoint is not stored: {error}") from error

    def _work(self) -> int:
        finished = False
        try:
            self._prepare()
            while not self._stop and not finished:
                self._heartbeat.beat(self._settings.x_timeout_seconds * 2)
                wait = self._step()
                finished = wait is None
                self._heartbeat.beat(wait or 0.0)
                self._stop.wait(wait or 0.0)
        finally:
            self._source.close()
        self._budget.close()
        self._keeper.save(self._progress)
        log.info("stopped", extra={"delivered": self.metrics.value("delivered_total")})
        return 0 if finished or not self._settings.run_once else 1

    def _prepare(self) -> None:
        self._progress = self._keeper.restore(self._clock.now())
        self._lag.complete(self._progress.complete_until)
        if self._settings.source != "replay":
            self.starting = "the credentials have not been read yet"
            try:
                self._keyring.wait_for_keys(self._stop, self._heartbeat)
            except (CredentialsError, XError) as error:
                raise Fatal(f"the credentials cannot be used: {error}") from error
        self.starting = None

    def _step(self) -> float | None:
        """Do one round; return the seconds to wait before the next one, None: all is done."""
        self._enter_day()
        if self._keyring.due():
            self._renew_keys()
        began = time.monotonic()
        try:
            batch = self._source.read(self._progress)
        except BudgetSpent as spent:
            return self._rest(spent)
        except XError as error:
            return self._wait_after(error)
        asked_at = self._clock.now() - timedelta(seconds=time.monotonic() - began)
        self._failures, self._answered, self._pausing = 0, True, None
        done = self._deliverer.deliver(batch.posts)
        self._commit(batch, done)
        self._tell(batch, done, time.monotonic() - began)
        complete = all(done) and batch.ended and not self._progress.behind
        self._lag.complete(asked_at if complete else self._progress.complete_until)
        if self._settings.run_once and complete:
            return None
        if self._progress.behind:
            return 0.0
        return self._source.pause() * self._budget.stretch()

    def _commit(self, batch: Batch, done: list[bool]) -> None:
        """Move the checkpoint over what has been delivered."""
        overlap = self._settings.overlap_seconds
        self._progress.advance(batch, done, overlap, self._budget.day)
        if (self._budget.left or 0) >= SMALLEST_PAGE:  # saves a write before the next request
            self._budget.reserve(self._budget.page(self._settings.max_results, self._clock.now()))
        self._keeper.save(self._progress)

    def _tell(self, batch: Batch, done: list[bool], seconds: float) -> None:
        if batch.posts:
            log.info(
                "delivered",
                extra={
                    "posts": sum(done),
                    "seconds": round(seconds, 4),
                    "newest": str(batch.posts[-1].id),
                    "spent_today": self._budget.posts,
                    "dollars_today": round(self._budget.dollars, 3),
                    "behind": self._progress.behind,
                },
            )

    def _wait_after(self, error: XError) -> float:
        """Log what X's error means; return the seconds until the next try."""
        kind = type(error).__name__
        self.metrics.x_errors.labels(kind).inc()
        if isinstance(error, BadRequest) and not self._answered:
            unfit = isinstance(error, SinceIdTooOld)  # even after the recovery
            what = "checkpoint" if unfit else f"query, {self._settings.query!r}"
            raise Fatal(f"X refuses the {what}: {error}", 2)
        if isinstance(error, Refused) and self._renew_keys():
            return 0.0
        advice = setbacks.advice(error)
        lasting = setbacks.lasting(error) is not None
        if lasting:
            if self._settings.run_once:
                raise Fatal(f"{advice}: {error}")
            self._pausing = f"{advice}: {error}"
        interval = self._settings.poll_interval_seconds
        wait = setbacks.wait(error, self._failures, interval, self._clock.now())
        self._failures += 1
        log.log(
            logging.ERROR if lasting else logging.WARNING,
            advice,
            extra={"error": str(error), "kind": kind, "next_in_seconds": round(wait, 1)},
        )
        return wait

    def _renew_keys(self) -> bool:
        """Read the keys again; True if they are others now, and used from now on."""
        changed = self._keyring.renew()
        if changed:
            self._source.close()
        return changed

    # Spending

    def _enter_day(self) -> None:
        if self._budget.enter_day(self._clock.now()):
            log.info("a UTC day begins", extra={"day": self._budget.day})
        self._show_budget()

    def _reserve(self, wanted: int, least: int = SMALLEST_PAGE) -> int:
        """Return how many posts may be asked for; what they may cost is stored first."""
        self._heartbeat.beat(self._settings.x_timeout_seconds * 4)  # X may be slow at each page
        self._enter_day()
        page = self._budget.page(wanted, self._clock.now(), least)
        if self._budget.reserve(page):
            self._keeper.save(self._progress)
        return page

    def _count(self, posts: list[Post]) -> None:
        """Count what X bills: each post once a day."""
        self._budget.count(self._progress.billed((post.id for post in posts), self._budget.day))
        self._show_budget()

    def _show_budget(self) -> None:
        left = self._budget.left
        self.metrics.spent_posts.set(self._budget.posts)
        self.metrics.spent_dollars.set(self._budget.dollars)
        self.metrics.budget_left.set(float("inf") if left is None else left)

    def _rest(self, spent: BudgetSpent) -> float:
        """Pause until the next UTC day."""
        if self._settings.run_once:
            raise Fatal(str(spent))
        if self._pausing is None:
            log.warning(
                "today's budget is spent: reading pauses until the next UTC day",
                extra={"posts": self._budget.posts, "until": spent.until.isoformat()},
            )
        self._pausing = str(spent)
        left = (spent.until - self._clock.now()) / timedelta(seconds=1)
        return min(max(left, 1.0), _LONGEST_REST)

    def _make_source(self) -> Source:
        settings = self._settings
        if settings.source == "replay":
            assert settings.replay_file is not None
            return ReplaySource(settings.replay_file, settings.replay_rate, self.metrics)
        shared = (settings, self._api, self.metrics, self._reserve, self._count, self._stop)
        if settings.source == "stream":
            return StreamSource(*shared, self._keyring.bearer)
        return SearchSource(*shared)
