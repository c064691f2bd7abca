"""The end of the process, and waits that it interrupts."""

from __future__ import annotations

import os
import signal
import threading
import time

_SIGNALS = {signal.SIGTERM, signal.SIGINT}


class Stop:
    """Set by SIGTERM or SIGINT: what is under way is finished, nothing new is begun."""

    def __init__(self, grace_seconds: float = 25) -> None:
        self._event = threading.Event()
        self.grace_seconds = grace_seconds

    def on_signals(self) -> None:
        """Have SIGTERM and SIGINT set it.

        They are waited for by a thread: a handler, which interrupts the main thread anywhere, could
        meet it holding the very lock that it needs. To be called before other threads are started.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        threading.Thread(target=self._wait_for_signals, name="signals", daemon=True).start()

    def _wait_for_signals(self) -> None:
        signal.sigwait(_SIGNALS)
        self.set()
        # Kubernetes kills after its own grace period: leave before, even if something hangs.
        # A second signal means: at once.
        signal.sigtimedwait(_SIGNALS, self.grace_seconds)
        os._exit(1)

    def set(self) -> None:
        """Ask for the end."""
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait; True, and at once, when the end is asked for."""
        return self._event.wait(max(0.0, seconds))


class Heartbeat:
    """Shows that the loop lives: it says before each wait by when it will be back."""

    SLACK_SECONDS = 60.0

    def __init__(self) -> None:
        self._due = time.monotonic() + self.SLACK_SECONDS

    def beat(self, within: float = 0.0) -> None:
        """Promise the next beat within so many seconds."""
        self._due = max(self._due, time.monotonic() + within + self.SLACK_SECONDS)

    @property
    def late_by(self) -> float:
        """Seconds by which the promise is broken; negative while it is kept."""
        return time.monotonic() - self._due
