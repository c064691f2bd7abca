"""How many posts are delivered."""

from __future__ import annotations

import threading
import time

_MINUTES = 10


class DeliveryRate:
    """Posts a minute, on average over the last ten minutes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._counts: dict[int, int] = {}

    def count(self, posts: int) -> None:
        """Count posts that were delivered just now."""
        minute = int(time.monotonic() // 60)
        with self._lock:
            self._counts[minute] = self._counts.get(minute, 0) + posts
            for old in [one for one in self._counts if one <= minute - _MINUTES]:
                del self._counts[old]

    def per_minute(self) -> float:
        """Return the average; of a process younger than a minute, what it has delivered so far."""
        now = time.monotonic()
        oldest = int(now // 60) - _MINUTES + 1
        with self._lock:
            posts = sum(n for minute, n in self._counts.items() if minute >= oldest)
        return posts / max(1.0, (now - max(self._began, oldest * 60)) / 60)
