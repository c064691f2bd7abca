"""Group commit: what comes in while the store writes is stored together, in one transaction."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from event_viewer import metrics
from event_viewer.cloudevents import Event
from event_viewer.event_log import EventLog
from event_viewer.http import Room
from event_viewer.store.interface import Rejection, Store, StoreBusy, StoreError

log = logging.getLogger(__name__)

#: Events in one transaction, and their bytes, so that it does not hold up the event loop for long.
MAX_COMMIT = 1000
MAX_COMMIT_BYTES = 2 << 20
BUSY_PAUSE_SECONDS = 0.02
#: How often the same trouble with the store is logged.
COMPLAIN_SECONDS = 10
#: How often the store is tried for a readiness probe while it works.
PROBE_SECONDS = 1


@dataclass(slots=True)
class _Item:
    events: list[Event]
    rejections: list[Rejection]
    #: Bytes it takes in a transaction, and those of `Writer.room` it gives back.
    size: int
    room: int = 0
    stored: asyncio.Future[None] | None = None


class Writer:
    """Writer of events and rejections, in the order they came; calls `on_stored` after each."""

    def __init__(
        self,
        store: Store,
        event_log: EventLog,
        room: Room,
        timeout: float,
        on_stored: Callable[[], None],
    ) -> None:
        self.store = store
        self.log = event_log
        #: Room for requests being read and for what waits to be stored.
        self.room = room
        self.timeout = timeout
        self.on_stored = on_stored
        #: Why the store could not be written the last time; empty once it could.
        self.trouble = ""
        self._complained = 0.0
        self._probed = 0.0
        self._stopping = False
        self._items: list[_Item] = []
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="writer")

    def store_events(self, events: list[Event]) -> asyncio.Future[None]:
        """Store the events together with what else is waiting; the result may be a StoreError."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        size = sum(len(event.json) for event in events)
        self._put(_Item(events, [], size, stored=stored))
        return stored

    def store_rejection(self, rejection: Rejection) -> None:
        """Keep a refused request, if there is room for it; nothing waits for it."""
        size = 500 + len(rejection.body)
        if self.room.take(size):
            self._put(_Item([], [rejection], size, size))

    def _put(self, item: _Item) -> None:
        self._items.append(item)
        self._wake.set()

    async def stop(self) -> None:
        """Store what is waiting, then end."""
        self._stopping = True
        self._wake.set()
        await self._task
        self.log.close()

    async def _run(self) -> None:
        while not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            while self._items:
                metrics.pending_bytes.set(self.room.used)
                group = self._next_group()
                await self._commit(group)
                for item in group:
                    self.room.give_back(item.room)
            metrics.pending_bytes.set(self.room.used)

    def _next_group(self) -> list[_Item]:
        count = number = size = 0
        for item in self._items:
            number += len(item.events) + len(item.rejections)
            size += item.size
            if count and (number > MAX_COMMIT or size > MAX_COMMIT_BYTES):
                break
            count += 1
        group, self._items = self._items[:count], self._items[count:]
        return group

    async def _commit(self, group: list[_Item]) -> None:
        events = [event for item in group for event in item.events]
        rejections = [rejection for item in group for rejection in item.rejections]
        started = time.perf_counter()
        try:
            new = await self._append(events, rejections)
        except Exception as error:
            if not isinstance(error, StoreError):
                log.exception("a fault of the viewer's own")
                error = StoreError(repr(error))
            self._complain(error)
            for item in group:
                if item.stored and not item.stored.done():
                    item.stored.set_exception(error)
            return
        self.trouble = ""
        for item in group:
            if item.stored and not item.stored.done():
                item.stored.set_result(None)
        metrics.commit_seconds.observe(time.perf_counter() - started)
        accepted = sum(new)
        metrics.accepted.inc(accepted)
        metrics.duplicates.inc(len(new) - accepted)
        self.log.events(events, new)
        self.log.rejections(rejections)
        if accepted:
            self.on_stored()

    async def _append(self, events: list[Event], rejections: list[Rejection]) -> list[bool]:
        """Store them; while somebody else holds the store, try again until the timeout."""
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                if self.store.slow:
                    return await asyncio.to_thread(self.store.append, events, rejections)
                return self.store.append(events, rejections)
            except StoreBusy:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(BUSY_PAUSE_SECONDS)

    def _complain(self, error: StoreError) -> None:
        metrics.store_errors.inc()
        self.trouble = str(error)
        if time.monotonic() - self._complained > COMPLAIN_SECONDS:
            self._complained = time.monotonic()
            log.error("the store cannot be written: %s", error)

    @property
    def alive(self) -> bool:
        """Whether events are still stored; nothing but a fault of the viewer's own ends that."""
        return not self._task.done()

    async def healthy(self) -> str:
        """Why the store cannot be written, empty when it can; tries it, also before any event."""
        now = time.monotonic()
        if self.trouble or now - self._probed > PROBE_SECONDS:
            self._probed = now
            try:
                await asyncio.to_thread(self.store.probe)
                self.trouble = ""
            except StoreBusy:
                pass  # somebody else writes
            except StoreError as error:
                self.trouble = str(error)
        return self.trouble
