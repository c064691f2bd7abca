"""Where posts come from."""

from __future__ import annotations

from typing import Protocol

from twitter_producer.checkpoint import Batch, Progress


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
