"""The loop: read, deliver, then move the checkpoint."""

from __future__ import annotations

import logging
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from twitter_producer import credentials, events, stores
from twitter_producer.budget import SMALLEST_PAGE, Budget, BudgetSpent
from twitter_producer.clock import XClock
from twitter_producer.credentials import CredentialsError, Keys
from twitter_producer.deadletter import destination
from twitter_producer.delivery import Deliverer
from twitter_producer.metrics import Metrics
from twitter_producer.progress import Batch, Checkpoint, Post, Progress, UnreadableCheckpoint
from twitter_producer.settings import Settings
from twitter_producer.sink import Sink
from twitter_producer.sources import Source
from twitter_producer.sources.replay import ReplaySource
from twitter_producer.sources.search import SearchSource
from twitter_producer.sources.stream import StreamSource
from twitter_producer.stopping import Heartbeat, Stop
from twitter_producer.x import (
    BadRequest,
    CreditsDepleted,
    Forbidden,
    RateLimited,
    Refused,
    XApi,
    XError,
)

log = logging.getLogger(__name__)

#: Waits after an error of X, first and longest, in seconds.
_WAITS: dict[type[XError], tuple[float, float]] = {
    CreditsDepleted: (300, 3600),
    Refused: (30, 900),
    Forbidden: (60, 900),
    BadRequest: (60, 900),
}
_LONGEST_UNAVAILABLE_WAIT = 120.0
_RATE_LIMIT_WAIT = 60.0


class Fatal(Exception):
    """The process has to end with this exit code and message."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class Producer:
    """Ties source, delivery, budget and checkpoint together."""

    def __init__(
        self, settings: Settings, store: stores.Store, stop: Stop, heartbeat: Heartbeat
    ) -> None:
        self._settings, self._store = settings, store
        self._stop, self._heartbeat = stop, heartbeat
        self.metrics = Metrics()
        self._clock = XClock()
        self._budget = Budget(
            settings.budget_posts, settings.budget_price, settings.budget_stretch_from
        )
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
        self._reader = credentials.reader(settings)
        self._keys: Keys | None = None
        self._keys_read_at = 0.0
        self._progress = Progress.begin(self._clock.now())
        self._source = self._make_source()
        self._saved = ""
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
            "checkpoint": self._progress.dump()["windows"],
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
            self._restore()
            self._first_keys()
            self.starting = None
            while not self._stop:
                self._heartbeat.beat(self._settings.x_timeout_seconds * 2)
                wait = self._step()
                if wait is None:
                    break
                self._heartbeat.beat(wait)
                self._stop.wait(wait)
        finally:
            self._source.close()
        self._budget.close()
        self._save()
        log.info("stopped", extra={"delivered": self.metrics.value("delivered_total")})
        return 0

    def _step(self) -> float | None:
        """Do one round; return the seconds to wait before the next one, None: all is done."""
        self._enter_day()
        self._renew_keys()
        began = time.monotonic()
        try:
            batch = self._source.read(self._progress)
        except BudgetSpent as spent:
            return self._rest(spent)
        except XError as error:
            return self._wait_after(error)
        self._failures, self._answered, self._pausing = 0, True, None
        done = self._deliverer.deliver(batch.posts)
        self._commit(batch, done)
        self._tell(batch, done, time.monotonic() - began)
        if self._settings.run_once and (batch.ended or self._caught_up(batch)):
            return None
        if self._progress.behind:
            return 0.0
        return self._source.pause() * self._budget.stretch()

    def _caught_up(self, batch: Batch) -> bool:
        return self._settings.source != "replay" and not self._progress.behind

    def _commit(self, batch: Batch, done: list[bool]) -> None:
        """Move the checkpoint over what has been delivered."""
        overlap = self._settings.overlap_seconds
        self._progress.advance(batch, done, overlap, self._budget.day)
        self._budget.reserve(self._page_for_next_time())
        self._save()

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

    def _page_for_next_time(self) -> int:
        try:
            return self._budget.page(self._settings.max_results, self._clock.now())
        except BudgetSpent:
            return 0

    # Spending

    def _enter_day(self) -> None:
        if self._budget.enter_day(self._clock.now()):
            log.info("a UTC day begins", extra={"day": self._budget.day})
        self._show_budget()

    def _reserve(self, wanted: int, least: int = SMALLEST_PAGE) -> int:
        """Return how many posts may be asked for; what they may cost is stored first."""
        self._enter_day()
        page = self._budget.page(wanted, self._clock.now(), least)
        if self._budget.reserve(page):
            self._save()
        return page

    def _count(self, posts: list[Post]) -> None:
        """Count what X bills: each post once a day."""
        self._budget.count(self._progress.billed((post.id for post in posts), self._budget.day))
        self._show_budget()

    def _show_budget(self) -> None:
        self.metrics.spent_posts.set(self._budget.posts)
        self.metrics.spent_dollars.set(self._budget.dollars)
        self.metrics.budget_left.set(
            float("inf") if self._budget.left is None else self._budget.left
        )

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
        return min(max(left, 1.0), 60.0)

    # X's errors

    def _wait_after(self, error: XError) -> float:
        """Log what X's error means; return the seconds until the next try."""
        kind = type(error).__name__
        self.metrics.x_errors.labels(kind).inc()
        lasting = isinstance(error, CreditsDepleted | Refused | Forbidden | BadRequest)
        if isinstance(error, BadRequest) and not self._answered:
            raise Fatal(f"X refuses the query, {self._settings.query!r}: {error}", 2)
        if isinstance(error, Refused) and self._keys_changed():
            return 0.0
        if lasting and self._settings.run_once:
            raise Fatal(f"{_ADVICE.get(type(error), 'X refuses')}: {error}")
        wait = self._error_wait(error)
        self._failures += 1
        advice = _ADVICE.get(type(error), "X did not answer as expected")
        if lasting:
            self._pausing = f"{advice}: {error}"
        log.log(
            logging.ERROR if lasting else logging.WARNING,
            advice,
            extra={"error": str(error), "kind": kind, "next_in_seconds": round(wait, 1)},
        )
        return wait

    def _error_wait(self, error: XError) -> float:
        if isinstance(error, RateLimited):
            now = self._clock.now().timestamp()
            wait = error.reset - now + 1 if error.reset else _RATE_LIMIT_WAIT
            return min(max(wait, 1.0), 16 * 60)
        usual = (min(1.0, self._settings.poll_interval_seconds), _LONGEST_UNAVAILABLE_WAIT)
        first, longest = _WAITS.get(type(error), usual)
        wait = min(longest, first * 2.0 ** min(self._failures, 20))
        return wait * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing

    # Credentials

    def _first_keys(self) -> None:
        failures = 0
        self.starting = "the credentials have not been read yet"
        while self._settings.source != "replay" and self._keys is None and not self._stop:
            try:
                self._use(self._reader.read())
            except (CredentialsError, XError) as error:
                if self._settings.run_once:
                    raise Fatal(f"the credentials cannot be used: {error}") from error
                wait = min(60.0, 2.0**failures)
                failures += 1
                log.error(
                    "the credentials cannot be used yet",
                    extra={"error": str(error), "next_in_seconds": wait},
                )
                self._heartbeat.beat(wait + self._settings.secret_manager_timeout_seconds * 5)
                self._stop.wait(wait)

    def _use(self, keys: Keys) -> None:
        self._keys_read_at = time.monotonic()
        self._api.use(keys)
        self._keys = keys

    def _renew_keys(self) -> None:
        due = self._keys_read_at + self._settings.credentials_refresh_seconds
        if self._keys is not None and time.monotonic() >= due:
            self._keys_changed()

    def _keys_changed(self) -> bool:
        """Read the keys again; True if they are others now."""
        try:
            self._keys_read_at = time.monotonic()
            keys = self._reader.read()
            if keys == self._keys:
                return False
            self._use(keys)
        except (CredentialsError, XError) as error:
            log.error("the credentials cannot be read again", extra={"error": str(error)})
            return False
        log.info("the credentials have changed")
        self._source.close()
        return True

    def _bearer(self) -> str:
        if self._keys is None:
            raise Refused("no credentials have been read yet")
        return self._api.bearer(self._keys)

    # Checkpoint

    def _restore(self) -> None:
        """Take up where the checkpoint says; a first start looks back a bounded time."""
        text = self._patiently(self._store.load)
        lookback = timedelta(seconds=self._settings.lookback_seconds)
        self._progress = Progress.begin(self._clock.now() - lookback)
        if text is None:
            log.info("no checkpoint: starts with the look-back")
            return
        try:
            checkpoint = Checkpoint.parse(text)
        except UnreadableCheckpoint as error:
            log.error(
                "the checkpoint is unreadable: starts with the look-back, today's spending unknown",
                extra={"error": str(error)},
            )
            self._patiently(lambda: self._store.set_aside(text))
            return
        self._progress = checkpoint.progress
        self._budget.day = checkpoint.day
        self._budget.posts = self._budget.ceiling = checkpoint.posts
        log.info("goes on from the checkpoint", extra=self._progress.dump()["windows"][0])

    def _save(self) -> None:
        checkpoint = Checkpoint(self._progress, self._budget.day, self._budget.posts)
        text = checkpoint.text(self._budget.ceiling)
        if text == self._saved:
            return
        self._patiently(lambda: self._store.save(text))
        self._saved = text
        self.metrics.checkpoints.inc()

    def _patiently(self, access: Any) -> Any:
        """Read or write the checkpoint, again and again: nothing is read from X without it."""
        failures = 0
        while True:
            try:
                return access()
            except stores.Conflict as error:
                raise Fatal(f"another producer writes the same checkpoint: {error}", 3) from error
            except stores.StoreError as error:
                wait = min(30.0, 0.5 * 2.0**failures)
                failures += 1
                log.error(
                    "the checkpoint cannot be read or stored",
                    extra={"error": str(error), "next_in_seconds": wait},
                )
                self._heartbeat.beat(wait + self._settings.kubernetes_timeout_seconds)
                if self._stop and (failures > 3 or self._settings.run_once):
                    raise Fatal(f"the checkpoint is not stored: {error}") from error
                if self._stop:
                    time.sleep(wait)
                else:
                    self._stop.wait(wait)

    def _make_source(self) -> Source:
        settings = self._settings
        if settings.source == "replay":
            assert settings.replay_file is not None
            return ReplaySource(settings.replay_file, settings.replay_rate, self.metrics)
        shared = (settings, self._api, self.metrics, self._reserve, self._count)
        if settings.source == "stream":
            return StreamSource(*shared, self._bearer)
        return SearchSource(*shared)


_ADVICE: dict[type[XError], str] = {
    CreditsDepleted: "X has no credits left for this account: buy credits at console.x.com; paused",
    Refused: "X refuses the credentials: renew them where CREDENTIALS says they are",
    Forbidden: "X forbids this with these credentials: check the app's access level",
    BadRequest: "X refuses the request",
    RateLimited: "X's rate limit is reached",
}
