"""How many requests are in flight, measured where they pass and told to the autoscaler.

Upstream's autoscaler scrapes queue-proxies every second and gets the activators' figures by
WebSocket. Here both report the same way: an HTTP answer that goes on with a line of JSON whenever
the figures have changed, at most one a second, so that nothing happens while nothing happens.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

#: Where the figures are, on the metrics port.
PATH = "/load"
_SECONDS = 1.0


@dataclass
class Gauge:
    """Requests in flight for one revision and their average since the last report."""

    now: int = 0
    requests: int = 0
    _area: float = 0.0
    _since: float = field(default_factory=time.monotonic)
    _changed: float = field(default_factory=time.monotonic)

    def move(self, step: int) -> None:
        """Note that a request came (1) or went (-1)."""
        moment = time.monotonic()
        self._area += self.now * (moment - self._changed)
        self._changed = moment
        self.now += step
        self.requests += step > 0

    def report(self) -> dict[str, float]:
        """Return the figures since the last report and start over; seconds since it too."""
        self.move(0)
        seconds = self._changed - self._since
        average = self._area / seconds if seconds else float(self.now)
        figures = {
            "now": self.now,
            "average": average,
            "seconds": seconds,
            "requests": self.requests,
        }
        self._area, self._since, self.requests = 0.0, self._changed, 0
        return figures


class Load:
    """Gauges by revision (`namespace/name`) and the reports about them."""

    def __init__(self) -> None:
        self._gauges: dict[str, Gauge] = {}
        self._listeners: set[_Listener] = set()

    @contextmanager
    def request(self, revision: str) -> Iterator[None]:
        """Count a request for as long as the context lasts."""
        self._move(revision, 1)
        try:
            yield
        finally:
            self._move(revision, -1)

    async def stream(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer with the figures, line by line, until the client leaves."""
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        listener = _Listener(set(self._gauges))
        self._listeners.add(listener)
        try:
            while True:
                await listener.changed.wait()
                for revision in listener.take():
                    line = {"revision": revision, **self._gauges[revision].report()}
                    await response.write(json.dumps(line).encode() + b"\n")
                await asyncio.sleep(_SECONDS)
        finally:
            self._listeners.discard(listener)

    def _move(self, revision: str, step: int) -> None:
        gauge = self._gauges.setdefault(revision, Gauge())
        gauge.move(step)
        for listener in self._listeners:
            listener.note(revision)


class _Listener:
    """One reader of the figures and what it has not been told yet."""

    def __init__(self, revisions: set[str]) -> None:
        self.changed = asyncio.Event()
        self._pending = revisions
        if revisions:
            self.changed.set()

    def note(self, revision: str) -> None:
        self._pending.add(revision)
        self.changed.set()

    def take(self) -> list[str]:
        self.changed.clear()
        pending, self._pending = self._pending, set()
        return sorted(pending)
