"""How far delivery is behind."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta

from prometheus_client import Gauge


class Lag:
    """Shows the seconds since everything that the source had was delivered; NaN before the first reading.

    Computed when it is read, so it grows while nothing can be delivered.
    """

    def __init__(self, now: Callable[[], datetime], gauge: Gauge) -> None:
        self._now = now
        self._until: datetime | None = None
        gauge.set_function(self.seconds)

    def complete(self, until: datetime) -> None:
        """Record that everything up to this time of the source's has been delivered."""
        self._until = max(self._until or until, until)

    def seconds(self) -> float:
        """Return how long ago that was."""
        if self._until is None:
            return math.nan
        return max(0.0, (self._now() - self._until) / timedelta(seconds=1))
