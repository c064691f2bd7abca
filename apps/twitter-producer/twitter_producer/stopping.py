"""The end of the process, and waits that it interrupts."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType


class Stop:
    """Set by SIGTERM or SIGINT: what is under way is finished, nothing new is begun."""

    def __init__(self, grace_seconds: float) -> None:
        self._event = threading.Event()
        self._grace = grace_seconds
        self.deadline = float("inf")

    def on_signals(self) -> None:
        """Have SIGTERM and SIGINT set it."""
        signal.signal(signal.SIGTERM, self._signalled)
        signal.signal(signal.SIGINT, self._signalled)

    def _signalled(self, _signal: int, _frame: FrameType | None) -> None:
        self.set()
        # Kubernetes kills after its own grace period: leave before, even if something hangs.
        watchdog = threading.Timer(self._grace, os._exit, args=(1,))
        watchdog.daemon = True
        watchdog.start()

    def set(self) -> None:
        """Ask for the end."""
        self.deadline = min(self.deadline, time.monotonic() + self._grace)
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
