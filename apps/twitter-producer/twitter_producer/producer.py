"""The loop: read, deliver, then move the checkpoint."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from twitter_producer import error_policy, events
from twitter_producer.checkpoint_writer import CheckpointWriter
from twitter_producer.dead_letter import destination
from twitter_producer.delivery import Deliverer
from twitter_producer.delivery_rate import DeliveryRate
from twitter_producer.errors import Paused, Refused, SourceError, Unavailable, Unusable
from twitter_producer.lag import Lag
from twitter_producer.metrics import Metrics
from twitter_producer.settings import Settings
from twitter_producer.shutdown import Heartbeat, Shutdown
from twitter_producer.sink import Sink
from twitter_producer.sources import Batch, Context, Source
from twitter_producer.stores import Conflict, Store, StoreError

log = logging.getLogger(__name__)


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
        context = Context(settings, self.metrics, shutdown, heartbeat, self._save)
        self._source = _source(context)
        self._checkpoints = CheckpointWriter(
            settings, store, self._source.network, self.metrics, shutdown, heartbeat
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
        self._lag = Lag(self._source.now, self.metrics.seconds_behind)
        self._rate = DeliveryRate()
        self._failures = 0
        self._answered = False
        self._problem: SourceError | None = None
        self._prepared = False
        self._standing_by = False
        self._restoring: str | None = "the checkpoint has not been read yet"
        self._pausing: str | None = None

    # What the server shows

    @property
    def starting(self) -> str | None:
        """What has to be there before the process is ready."""
        return self._restoring or self._source.waiting_for

    def stand_by(self) -> None:
        """Count as ready although another process holds the Lease, or no rollout would end."""
        self._restoring = None
        self._standing_by = True

    @property
    def trouble(self) -> str | None:
        """Why the process should be restarted."""
        late = self._heartbeat.late_by
        return f"the loop is {late:.0f} s late" if late > 0 else None

    def status(self) -> dict[str, Any]:
        """Return the state for people, and for the event viewer."""
        counters = ("polls", "posts", "delivered", "retried", "dead_lettered", "duplicates")
        behind = self._lag.seconds()
        return {
            "pipeline": self._settings.pipeline,
            "source": self._settings.source,
            "standing_by": self._standing_by,
            "per_minute": round(self._rate.per_minute(), 1),
            "seconds_behind": None if math.isnan(behind) else round(behind, 1),
            "sink": self._sink.shown,
            "event_source": self._settings.event_source,
            "state": self.starting or self._deliverer.problem or self._pausing or "running",
            "reading": self._reading(),
            "counters": {name: self.metrics.value(f"{name}_total") for name in counters},
            **self._source.describe(),
        }

    def _reading(self) -> dict[str, Any]:
        """Return whether the source answers: ever in this process, and its last error if that was one."""
        problem = self._problem
        return {
            "answered": self._answered,
            "problem": problem and f"{error_policy.advice(problem, self._source.title)}: {problem}",
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
        self._standing_by = False
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
        self._source.abort()

    def _run(self) -> int:
        finished = False
        try:
            self._prepare()
            while self._prepared and not self._shutdown and not finished and self._holds_lease():
                wait = self._step()
                finished = wait is None
                self._heartbeat.beat(wait or 0.0)
                self._shutdown.wait(wait or 0.0)
        finally:
            self._source.close()
        if self._prepared:
            self._source.release()
            self._save()
        log.info("stopped", extra={"delivered": self.metrics.value("delivered_total")})
        return 0 if finished or not self._settings.run_once else 1

    def _prepare(self) -> None:
        if not self._checkpoints.restore(self._source.restore):
            self._source.begin()
        self._restoring = None
        while not self._prepared:
            if self._shutdown:  # nothing is kept: a source that is not open may not know its start
                return
            try:
                if not self._source.open():
                    return
                self._prepared = True
            except SourceError as error:
                wait = self._wait_after(error)
                self._heartbeat.beat(wait)
                self._shutdown.wait(wait)
        self._lag.complete(self._source.complete_until)
        self._save()

    def _save(self) -> None:
        self._checkpoints.save(self._source.dump())

    def _step(self) -> float | None:
        """Do one round; return the seconds to wait before the next one, None: all is done."""
        self._source.refresh()
        began = time.monotonic()
        try:
            batch = self._read()
        except SourceError as error:
            return self._wait_after(error)
        asked_at = self._source.now() - timedelta(seconds=time.monotonic() - began)
        self._failures, self._answered, self._pausing, self._problem = 0, True, None, None
        done = self._deliverer.deliver(batch.posts)
        self._rate.count(sum(done))
        more = self._source.commit(done)
        self._save()
        self._log_batch(batch, done, time.monotonic() - began)
        complete = all(done) and batch.ended and not self._source.behind
        self._lag.complete(asked_at if complete else self._source.complete_until)
        if self._settings.run_once and complete:
            return None
        return 0.0 if more else self._source.pause()

    def _read(self) -> Batch:
        try:
            return self._source.read()
        except (SourceError, StoreError, Conflict):
            raise
        except Exception as error:
            # No answer may end the loop, not even one that nobody has thought of.
            log.exception("an answer could not be processed: this is a bug")
            raise Unavailable(f"an answer could not be processed: {error!r}") from error

    def _log_batch(self, batch: Batch, done: list[bool], seconds: float) -> None:
        if batch.posts:
            log.info(
                "delivered",
                extra={
                    "posts": sum(done),
                    "seconds": round(seconds, 4),
                    "newest": str(batch.posts[-1].id),
                    **self._source.log_fields(),
                },
            )

    def _wait_after(self, error: SourceError) -> float:
        """Log what the source's error means; return the seconds until the next try."""
        if isinstance(error, Unusable):
            raise Fatal(str(error), error.exit_code)
        if isinstance(error, Paused):
            return self._rest(error)
        kind = type(error).__name__
        self._problem = error
        self.metrics.source_errors.labels(kind).inc()
        if isinstance(error, Refused) and self._source.renew():
            return 0.0
        advice = error_policy.advice(error, self._source.title)
        lasting = error_policy.lasting(error) is not None
        if lasting:
            if self._settings.run_once:
                raise Fatal(f"{advice}: {error}")
            self._pausing = f"{advice}: {error}"
        interval = self._settings.poll_interval_seconds
        wait = error_policy.wait(error, self._failures, interval, self._source.now())
        self._failures += 1
        log.log(
            logging.ERROR if lasting else logging.WARNING,
            advice,
            extra={"error": str(error), "kind": kind, "next_in_seconds": round(wait, 1)},
        )
        if isinstance(error, Refused):
            self._source.wait_for_credentials(wait)
            return 0.0
        return wait

    def _rest(self, paused: Paused) -> float:
        if self._settings.run_once:
            raise Fatal(str(paused))
        if self._pausing is None:
            log.warning(paused.advice, extra=dict(paused.details))
        self._pausing = str(paused)
        return paused.seconds


def _source(context: Context) -> Source:
    """Return the source that the settings ask for; its libraries are imported only for it."""
    # ruff: noqa: PLC0415
    kind = context.settings.source
    if kind == "jetstream":
        from twitter_producer.sources.jetstream import JetstreamSource

        return JetstreamSource(context)
    if kind == "mastodon":
        from twitter_producer.sources.mastodon import MastodonSource

        return MastodonSource(context)
    if kind == "feed":
        from twitter_producer.sources.feed import FeedSource

        return FeedSource(context)
    from twitter_producer.sources.x import XSource

    return XSource(context)
