"""The loop: read, deliver, then move the checkpoint."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from twitter_producer import credentials, error_policy, events
from twitter_producer.budget import Budget, BudgetSpent
from twitter_producer.checkpoint import Batch, Progress
from twitter_producer.checkpoint_writer import CheckpointWriter
from twitter_producer.clock import XClock
from twitter_producer.credential_rotation import CredentialRotation
from twitter_producer.credentials import CredentialsError
from twitter_producer.dead_letter import destination
from twitter_producer.delivery import Deliverer
from twitter_producer.lag import Lag
from twitter_producer.metrics import Metrics
from twitter_producer.settings import Settings
from twitter_producer.shutdown import Heartbeat, Shutdown
from twitter_producer.sink import Sink
from twitter_producer.sources import Source
from twitter_producer.sources.replay import ReplaySource
from twitter_producer.sources.search import SearchSource
from twitter_producer.sources.stream import StreamSource
from twitter_producer.spending import Spending
from twitter_producer.stores import Conflict, Store, StoreError
from twitter_producer.x import BadRequest, Refused, SinceIdTooOld, XApi, XError, XUnavailable

log = logging.getLogger(__name__)

_LONGEST_REST = 60.0


class Fatal(Exception):
    """The process has to end with this exit code and message."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class Producer:
    """Ties source, delivery, budget and checkpoint together."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        shutdown: Shutdown,
        heartbeat: Heartbeat,
        holds_lease: Callable[[], bool] = lambda: True,
    ) -> None:
        self._settings, self._shutdown, self._heartbeat = settings, shutdown, heartbeat
        self._holds_lease = holds_lease
        self.metrics = Metrics()
        self._clock = XClock()
        self._budget = Budget(
            settings.budget_posts, settings.budget_price, settings.budget_stretch_from
        )
        self._checkpoints = CheckpointWriter(
            settings, store, self._budget, self.metrics, shutdown, heartbeat
        )
        self._progress = Progress.begin(self._clock.now())
        self._spending = Spending(
            settings, self._budget, self._clock, self.metrics, heartbeat, self._progress, self._save
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
            shutdown,
            heartbeat,
            holds_lease,
        )
        self._api = XApi(
            settings.x_api_url, settings.x_timeout_seconds, self._clock, settings.post_fields
        )
        self._credentials = CredentialRotation(settings, credentials.reader(settings), self._api)
        self._source = self._make_source()
        self._lag = Lag(self._clock, self.metrics.seconds_behind)
        self._failures = 0
        self._answered = False
        self._problem: XError | None = None
        self._prepared = False
        self.starting: str | None = "the checkpoint has not been read yet"
        self._pausing: str | None = None

    # What the server shows

    @property
    def trouble(self) -> str | None:
        """Why the process should be restarted."""
        late = self._heartbeat.late_by
        return f"the loop is {late:.0f} s late" if late > 0 else None

    def status(self) -> dict[str, Any]:
        """Return the state for people."""
        counters = ("polls", "posts", "delivered", "retried", "dead_lettered", "duplicates")
        return {
            "pipeline": self._settings.pipeline,
            "source": self._settings.source,
            "query": self._settings.query or None,
            "sink": self._sink.shown,
            "event_source": self._settings.event_source,
            "state": self.starting or self._deliverer.problem or self._pausing or "running",
            "reading": self._reading(),
            "counters": {name: self.metrics.value(f"{name}_total") for name in counters},
            "checkpoint": self._progress.describe(),
            "budget": {
                "day": self._budget.day,
                "posts": self._budget.posts,
                "unanswered": self._budget.reserved,
                "left": self._budget.left,
                "dollars": round(self._budget.dollars, 4),
            },
        }

    def _reading(self) -> dict[str, Any]:
        """Return whether X answers: ever in this process, and what its last answer was where it was an error."""
        problem = self._problem
        return {
            "answered": self._answered,
            "problem": problem and f"{error_policy.advice(problem)}: {problem}",
            "lasting": problem is not None and error_policy.lasting(problem) is not None,
            "failures": self._failures,
        }

    def probe(self, event_id: str) -> tuple[int, dict[str, Any]]:
        """Send one recognisable event to the sink, in one attempt."""
        sent = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        data = {"pipeline": self._settings.pipeline, "sent": sent}
        event = self._maker.probe(event_id, data)
        began = time.monotonic()
        answer = self._sink.send(events.message(self._settings.delivery_mode, [event]))
        report = {
            "id": event_id,
            "source": self._maker.source,
            "type": events.PROBE_TYPE,
            "sink": self._sink.shown,
            "status": answer.status,
            "seconds": round(time.monotonic() - began, 4),
        }
        if answer.accepted:
            return 200, report
        problem = f"answered {answer.status}" if answer.status else "did not answer"
        return 502, report | {"message": f"{self._sink.shown} {problem}: {answer.reason}"}

    # The loop

    def run(self) -> int:
        """Run until the shutdown (or, for one pass, the end); return the exit code."""
        try:
            return self._run()
        except Conflict as error:
            raise Fatal(
                f"the checkpoint is not ours any more: {error}. Another producer with the same "
                "STATE_CONFIGMAP runs: stop one of them, or set LEASE so that they take turns",
                3,
            ) from error
        except StoreError as error:
            raise Fatal(f"the checkpoint is not stored: {error}") from error

    def abort(self) -> None:
        """End the requests under way: there is no time left to wait for their answers."""
        self._deliverer.abort()
        self._api.abort()

    def _run(self) -> int:
        finished = False
        try:
            self._prepare()
            while not self._shutdown and not finished and self._holds_lease():
                self._heartbeat.beat(self._settings.x_timeout_seconds * 2)
                wait = self._step()
                finished = wait is None
                self._heartbeat.beat(wait or 0.0)
                self._shutdown.wait(wait or 0.0)
        finally:
            self._source.close()
        if self._prepared:
            self._budget.stored = self._budget.ceiling
            self._save()
        log.info("stopped", extra={"delivered": self.metrics.value("delivered_total")})
        return 0 if finished or not self._settings.run_once else 1

    def _prepare(self) -> None:
        progress = self._checkpoints.restore()
        if self._settings.source != "replay":
            self.starting = "the credentials have not been read yet"
            try:
                self._credentials.wait_for_keys(self._shutdown, self._heartbeat)
            except (CredentialsError, XError) as error:
                raise Fatal(f"the credentials cannot be used: {error}") from error
            self.starting = None
            self._wait_for_time()
            if not self._clock.known:
                return
        lookback = timedelta(seconds=self._settings.lookback_seconds)
        self._progress = progress or Progress.begin(self._clock.now() - lookback)
        self._spending.progress = self._progress
        self._lag.complete(self._progress.complete_until)
        self._spending.enter_day()
        self._prepared = True
        self._save()
        self.starting = None

    def _wait_for_time(self) -> None:
        """Learn X's time: the look-back and the day's budget begin by it, not by this machine's."""
        while not self._shutdown:
            self._heartbeat.beat(self._settings.x_timeout_seconds * 2)
            try:
                self._api.ask_time()
                return
            except XError as error:
                wait = self._wait_after(error)
            self._heartbeat.beat(wait)
            self._shutdown.wait(wait)

    def _save(self) -> None:
        self._checkpoints.save(self._progress)

    def _step(self) -> float | None:
        """Do one round; return the seconds to wait before the next one, None: all is done."""
        self._spending.enter_day()
        if self._credentials.due():
            self._renew_keys()
        began = time.monotonic()
        before = list(self._progress.windows)
        corrections = self._clock.corrections
        try:
            batch = self._read()
        except BudgetSpent as spent:
            return self._rest(spent)
        except BadRequest as error:
            if self._clock.corrections == corrections:
                return self._wait_after(error)
            log.warning("X's clock has changed: asks again", extra={"error": str(error)})
            return 0.0
        except XError as error:
            return self._wait_after(error)
        asked_at = self._clock.now() - timedelta(seconds=time.monotonic() - began)
        self._failures, self._answered, self._pausing, self._problem = 0, True, None, None
        done = self._deliverer.deliver(batch.posts)
        self._commit(batch, done)
        self._log_batch(batch, done, time.monotonic() - began)
        complete = all(done) and batch.ended and not self._progress.behind
        self._lag.complete(asked_at if complete else self._progress.complete_until)
        if self._settings.run_once and complete:
            return None
        if self._progress.behind and self._progress.windows != before:
            return 0.0
        return self._source.pause() * self._budget.stretch()

    def _read(self) -> Batch:
        try:
            return self._source.read(self._progress)
        except (BudgetSpent, XError, StoreError, Conflict):
            raise
        except Exception as error:
            # No answer may end the loop, not even one that nobody has thought of.
            log.exception("an answer could not be processed: this is a bug")
            raise XUnavailable(f"an answer could not be processed: {error!r}") from error

    def _commit(self, batch: Batch, done: list[bool]) -> None:
        """Move the checkpoint over what has been delivered."""
        overlap = self._settings.overlap_seconds
        self._progress.advance(batch, done, overlap, self._budget.day)
        self._spending.reserve_ahead()
        self._save()

    def _log_batch(self, batch: Batch, done: list[bool], seconds: float) -> None:
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
        self._problem = error
        self.metrics.x_errors.labels(kind).inc()
        if isinstance(error, BadRequest) and not self._answered:
            unfit = isinstance(error, SinceIdTooOld)  # even after the recovery
            what = "checkpoint" if unfit else f"query, {self._settings.query!r}"
            raise Fatal(f"X refuses the {what}: {error}", 2)
        if isinstance(error, Refused) and self._renew_keys():
            return 0.0
        advice = error_policy.advice(error)
        lasting = error_policy.lasting(error) is not None
        if lasting:
            if self._settings.run_once:
                raise Fatal(f"{advice}: {error}")
            self._pausing = f"{advice}: {error}"
        interval = self._settings.poll_interval_seconds
        wait = error_policy.wait(error, self._failures, interval, self._clock.now())
        self._failures += 1
        log.log(
            logging.ERROR if lasting else logging.WARNING,
            advice,
            extra={"error": str(error), "kind": kind, "next_in_seconds": round(wait, 1)},
        )
        if isinstance(error, Refused):
            if self._credentials.wait_for_change(wait, self._shutdown, self._heartbeat):
                self._source.close()
            return 0.0
        return wait

    def _renew_keys(self) -> bool:
        """Read the keys again; True if they are others now, and used from now on."""
        changed = self._credentials.renew()
        if changed:
            self._source.close()
        return changed

    def _rest(self, spent: BudgetSpent) -> float:
        """Pause until the next UTC day."""
        if self._settings.run_once:
            raise Fatal(str(spent))
        if self._pausing is None:
            log.warning(
                "today's budget is spent: reading pauses until the next UTC day",
                extra={
                    "posts": self._budget.posts,
                    "unanswered": self._budget.reserved,
                    "until": spent.until.isoformat(),
                },
            )
        self._pausing = str(spent)
        left = (spent.until - self._clock.now()) / timedelta(seconds=1)
        return min(max(left, 1.0), _LONGEST_REST)

    def _make_source(self) -> Source:
        settings = self._settings
        if settings.source == "replay":
            assert settings.replay_file is not None
            return ReplaySource(settings.replay_file, settings.replay_rate, self.metrics)
        shared = (settings, self._api, self.metrics, self._spending, self._shutdown)
        if settings.source == "stream":
            return StreamSource(*shared, self._credentials.bearer)
        return SearchSource(*shared)
