"""The average number of requests in flight over a sliding window."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class _Sample:
    start: float
    end: float
    average: float


class Window:
    """Concurrency of one revision, added up over all who report it; times in seconds."""

    def __init__(self, start: float, longest: float) -> None:
        self._start = start
        self._longest = longest
        self._samples: deque[_Sample] = deque()
        self._open: dict[str, tuple[float, float]] = {}

    def report(
        self, source: str, moment: float, *, seconds: float, average: float, now: float
    ) -> None:
        """Take in what a source measured over the last `seconds` and what it measures now."""
        self._samples.append(_Sample(moment - seconds, moment, average))
        self._open[source] = (moment, now)
        self.expire(moment)

    def forget(self, source: str, moment: float) -> None:
        """Drop a source that reports no more."""
        since, now = self._open.pop(source, (moment, 0.0))
        if now:
            self._samples.append(_Sample(since, moment, now))

    def average(self, moment: float, width: float) -> float:
        """Return the average concurrency over the last `width` seconds, or since the start."""
        begin = max(self._start, moment - width)
        if moment <= begin:
            return sum(now for _, now in self._open.values())
        area = sum(
            max(0.0, min(s.end, moment) - max(s.start, begin)) * s.average for s in self._samples
        )
        area += sum(
            max(0.0, moment - max(since, begin)) * now for since, now in self._open.values()
        )
        return area / (moment - begin)

    def busy(self) -> bool:
        """Tell whether requests are in flight."""
        return any(now for _, now in self._open.values())

    def last_activity(self) -> float:
        """Return when requests were last in flight; the start where there were none."""
        return max((s.end for s in self._samples if s.average), default=self._start)

    def expire(self, moment: float) -> None:
        """Forget what is older than the longest width asked for."""
        while self._samples and self._samples[0].end < moment - self._longest:
            self._samples.popleft()
