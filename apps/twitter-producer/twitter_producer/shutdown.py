"""The end of the process, and waits that it interrupts."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

_SIGNALS = {signal.SIGTERM, signal.SIGINT}
#: Share of the grace period after which requests under way are ended; the rest is for storing the
#: checkpoint.
_PATIENCE = 0.6


class Shutdown:
    """Requested by SIGTERM or SIGINT: what is under way is finished, nothing new is begun."""

    def __init__(self, grace_seconds: float = 25) -> None:
        self._event = threading.Event()
        self.grace_seconds = grace_seconds
        #: Called once when what is under way takes too long, from a thread of its own.
        self.abort: Callable[[], None] = lambda: None

    def on_signals(self) -> None:
        """Have SIGTERM and SIGINT request the shutdown.

        They are waited for by a thread: a handler, which interrupts the main thread anywhere, could
        meet it holding the very lock that it needs. To be called before other threads are started.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        threading.Thread(target=self._wait_for_signals, name="signals", daemon=True).start()

    def _wait_for_signals(self) -> None:
        signal.sigwait(_SIGNALS)
        self.set()
        # Kubernetes kills after its own grace period: exit before, even if something hangs.
        # A second signal means: at once.
        if signal.sigtimedwait(_SIGNALS, self.grace_seconds * _PATIENCE) is None:
            try:
                self.abort()
            finally:
                signal.sigtimedwait(_SIGNALS, self.grace_seconds * (1 - _PATIENCE))
        os._exit(1)

    def set(self) -> None:
        """Request the shutdown."""
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait; True, and at once, when the shutdown is requested."""
        return self._event.wait(max(0.0, seconds))


class Heartbeat:
    """Liveness of the loop: it announces before each wait by when it will be back."""

    SLACK_SECONDS = 60.0

    def __init__(self) -> None:
        self._due = time.monotonic() + self.SLACK_SECONDS

    def beat(self, within: float = 0.0) -> None:
        """Announce the next beat within so many seconds."""
        self._due = max(self._due, time.monotonic() + within + self.SLACK_SECONDS)

    @property
    def late_by(self) -> float:
        """Seconds by which the next beat is late; negative while it is not due."""
        return time.monotonic() - self._due
