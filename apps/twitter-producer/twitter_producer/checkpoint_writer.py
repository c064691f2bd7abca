"""The checkpoint in its store: read at the start and written, with retries; reading waits for it."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from typing import TypeVar

from twitter_producer.budget import Budget
from twitter_producer.checkpoint import Checkpoint, Progress, UnreadableCheckpoint
from twitter_producer.metrics import Metrics
from twitter_producer.settings import Settings
from twitter_producer.shutdown import Heartbeat, Shutdown
from twitter_producer.stores import Store, StoreError

log = logging.getLogger(__name__)

_LONGEST_WAIT = 30.0
_TRIES_AT_THE_END = 4

T = TypeVar("T")


class CheckpointWriter:
    """Keeps progress and spending in the store.

    Each process writes under a name of its own, and once before it reads: from then on a process
    that believes to be the only one, after it was paused, cannot write any more.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        budget: Budget,
        metrics: Metrics,
        shutdown: Shutdown,
        heartbeat: Heartbeat,
    ) -> None:
        self._settings, self._store, self._budget, self._metrics = settings, store, budget, metrics
        self._shutdown, self._heartbeat = shutdown, heartbeat
        self._writer = f"{settings.pod_name}/{secrets.token_hex(4)}"
        self._saved = ""

    def restore(self) -> Progress | None:
        """Return the progress in the checkpoint; None where a first start is due."""
        text = self._retry(self._store.load)
        if text is None:
            log.info("no checkpoint: starts with the look-back")
            return None
        try:
            checkpoint = Checkpoint.parse(text)
        except UnreadableCheckpoint as error:
            log.error(
                "the checkpoint is unreadable: starts with the look-back, today's spending unknown",
                extra={"error": str(error)},
            )
            self._retry(lambda: self._store.set_aside(text))
            return None
        progress = checkpoint.progress
        self._budget.restore(checkpoint.budget, progress.next_window)
        log.info("resumes from the checkpoint", extra=progress.describe()[0])
        return progress

    def save(self, progress: Progress) -> None:
        """Store the checkpoint if it has changed; StoreError if that fails during the shutdown."""
        text = Checkpoint(progress, self._budget.dump()).text(self._writer)
        if text == self._saved:
            return
        self._retry(lambda: self._store.save(text))
        self._saved = text
        self._metrics.checkpoints.inc()

    def _retry(self, access: Callable[[], T]) -> T:
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
                if self._shutdown and tries >= _TRIES_AT_THE_END:
                    raise
            self._heartbeat.beat(wait + self._settings.kubernetes_timeout_seconds)
            if self._shutdown:
                time.sleep(wait)
            else:
                self._shutdown.wait(wait)
