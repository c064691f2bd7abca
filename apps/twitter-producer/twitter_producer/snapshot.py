"""A source's state, made anew only now and then where it is large."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class Snapshot:
    """What `make` returned at most so many seconds ago; the same object until then.

    After a crash what was delivered meanwhile is delivered again.
    """

    def __init__(self, make: Callable[[], dict[str, Any]], seconds: float) -> None:
        self._make, self._seconds = make, seconds
        self._state: dict[str, Any] | None = None
        self._made_at = 0.0

    def get(self) -> dict[str, Any]:
        """Return the state."""
        now = time.monotonic()
        if self._state is None or now - self._made_at >= self._seconds:
            self._state, self._made_at = self._make(), now
        return self._state

    def forget(self) -> None:
        """Make the next state the present one."""
        self._state = None
