"""Where posts come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twitter_producer.progress import Batch, Progress


class Source(Protocol):
    """Gives posts in batches, oldest first within each."""

    def read(self, progress: Progress) -> Batch:
        """Return what comes next after this progress; raises x.XError or budget.BudgetSpent."""
        ...

    def pause(self) -> float:
        """Return the seconds to wait before the next read when everything has been read."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


#: Asked before a request for so many posts: returns how many may be asked for, stores that first.
Reserve = Callable[[int], int]
