"""The checkpoint in its store: read at the start, written with retries; reading waits for it."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from typing import Any, TypeVar

from twitter_producer import checkpoint
from twitter_producer.metrics import Metrics
from twitter_producer.settings import Settings
from twitter_producer.shutdown import Heartbeat, Shutdown
from twitter_producer.stores import Store, StoreError

log = logging.getLogger(__name__)

_LONGEST_WAIT = 30.0
_TRIES_AT_THE_END = 4

T = TypeVar("T")


class CheckpointWriter:
    """Keeps a source's state in the store.

    Each process writes under a name of its own, and once before it reads: from then on a process
    that believes to be the only one, after it was paused, cannot write any more.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        network: str,
        metrics: Metrics,
        shutdown: Shutdown,
        heartbeat: Heartbeat,
    ) -> None:
        self._settings, self._store, self._network, self._metrics = (
            settings,
            store,
            network,
            metrics,
        )
        self._shutdown, self._heartbeat = shutdown, heartbeat
        self._writer = f"{settings.pod_name}/{secrets.token_hex(4)}"
        self._saved = ""
        self._saved_state: dict[str, Any] | None = None

    def restore(self, use: Callable[[dict[str, Any]], None]) -> bool:
        """Give the stored state to `use`; False where a first start is due.

        A state that `use` refuses with ValueError, KeyError or the like is kept aside.
        """
        text = self._retry(self._store.load)
        if text is None:
            log.info("no checkpoint: starts with the look-back")
            return False
        try:
            use(checkpoint.parse(text, self._network))
        except (
            checkpoint.UnreadableCheckpoint,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
        ) as error:
            log.error(
                "the checkpoint is unreadable: starts with the look-back, today's spending unknown",
                extra={"error": f"{type(error).__name__}: {error}"},
            )
            self._retry(lambda: self._store.set_aside(text))
            return False
        return True

    def save(self, state: dict[str, Any]) -> None:
        """Store the state if it has changed; StoreError if that fails during the shutdown."""
        if state is self._saved_state:  # a large one is not written out to find that
            return
        text = checkpoint.text(state, self._network, self._writer)
        if text != self._saved:
            self._retry(lambda: self._store.save(text))
            self._metrics.checkpoints.inc()
        self._saved, self._saved_state = text, state

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
