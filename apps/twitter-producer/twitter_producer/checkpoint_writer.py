"""Reads the checkpoint at the start and stores it, with patience: nothing is read without it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from twitter_producer.budget import Budget
from twitter_producer.metrics import Metrics
from twitter_producer.progress import Checkpoint, Progress, UnreadableCheckpoint
from twitter_producer.settings import Settings
from twitter_producer.stopping import Heartbeat, Stop
from twitter_producer.stores import Store, StoreError

log = logging.getLogger(__name__)

_LONGEST_WAIT = 30.0
_TRIES_AT_THE_END = 4

T = TypeVar("T")


class Keeper:
    """Keeps progress and spending in the store."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        budget: Budget,
        metrics: Metrics,
        stop: Stop,
        heartbeat: Heartbeat,
    ) -> None:
        self._settings, self._store, self._budget, self._metrics = settings, store, budget, metrics
        self._stop, self._heartbeat = stop, heartbeat
        self._saved = ""

    def restore(self, now: datetime) -> Progress:
        """Return where the checkpoint says to go on; a first start looks back a bounded time."""
        text = self._patiently(self._store.load)
        beginning = Progress.begin(now - timedelta(seconds=self._settings.lookback_seconds))
        if text is None:
            log.info("no checkpoint: starts with the look-back")
            return beginning
        try:
            checkpoint = Checkpoint.parse(text)
        except UnreadableCheckpoint as error:
            log.error(
                "the checkpoint is unreadable: starts with the look-back, today's spending unknown",
                extra={"error": str(error)},
            )
            self._patiently(lambda: self._store.set_aside(text))
            return beginning
        self._budget.day = checkpoint.day
        self._budget.posts = self._budget.ceiling = checkpoint.posts
        log.info("goes on from the checkpoint", extra=checkpoint.progress.describe()[0])
        return checkpoint.progress

    def save(self, progress: Progress) -> None:
        """Store the checkpoint if it has changed; StoreError if the end comes before it is."""
        checkpoint = Checkpoint(progress, self._budget.day, self._budget.posts)
        text = checkpoint.text(self._budget.ceiling)
        if text == self._saved:
            return
        self._patiently(lambda: self._store.save(text))
        self._saved = text
        self._metrics.checkpoints.inc()

    def _patiently(self, access: Callable[[], T]) -> T:
        tries = 0
        while True:
            try:
                return access()
            except StoreError as error:
                wait = min(_LONGEST_WAIT, 0.5 * 2.0**tries)
                tries += 1
                log.error(
                    "the checkpoint cannot be read or stored",
                    extra={"error": str(error), "next_in_seconds": wait},
                )
                if self._stop and tries >= _TRIES_AT_THE_END:
                    raise
            self._heartbeat.beat(wait + self._settings.kubernetes_timeout_seconds)
            if self._stop:
                time.sleep(wait)
            else:
                self._stop.wait(wait)
