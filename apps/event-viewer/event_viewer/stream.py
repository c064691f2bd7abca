"""`GET /api/stream`: server-sent events to many clients, each event encoded once for all.

A hub reads what is new from the store, at most every INTERVAL_SECONDS, into a block of bytes.
Every client remembers its position; one that is at the start of a known block sends that block,
one that is further behind reads from the store. So nobody has a queue that could grow, and a
client that reconnects with Last-Event-ID goes on exactly where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import urllib.parse
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from event_viewer import metrics
from event_viewer.http import Receive, Scope, Send, header, respond_error
from event_viewer.store.base import Query, Record, Store, StoreError, search

log = logging.getLogger(__name__)

#: Shortest time between two blocks: events that come faster travel together.
INTERVAL_SECONDS = 0.1
#: How often a store others write to is asked for news.
POLL_SECONDS = 0.2
HEARTBEAT_SECONDS = 15.0
BLOCK_EVENTS = 500
#: Each client that is slow holds a copy of one block.
BLOCK_BYTES = 256 << 10
#: Blocks kept for clients that are a little behind, and their bytes.
BLOCKS_KEPT = 30
BLOCKS_BYTES = 8 << 20
#: Of a position in the history.
MAX_DIGITS = 19
HEARTBEAT = b": still here\n\n"


class _Block(NamedTuple):
    records: list[Record]
    frames: bytes
    end: int


class Hub:
    """The streams of one worker process."""

    def __init__(self, store: Store, max_streams: int) -> None:
        self.store = store
        self.max_streams = max_streams
        self._clients = 0
        self._closing = False
        self._epoch = ""
        self._position = 0
        self._blocks: OrderedDict[int, _Block] = OrderedDict()
        self._news = asyncio.Event()
        self._tick = asyncio.Event()
        self._joining = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def notify(self) -> None:
        """Something was stored."""
        self._news.set()

    def close(self) -> None:
        """End all streams; their clients come back to another process."""
        self._closing = True
        if self._task:
            self._task.cancel()
        self._tick.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one client until it leaves."""
        if self._clients >= self.max_streams or self._closing:
            reason = "as many streams are open as may be"
            await respond_error(send, 503, reason, ((b"retry-after", b"5"),))
            return
        self._clients += 1
        metrics.streams.inc()
        try:
            await self._join()
            serving = asyncio.create_task(self._serve(scope, send))
            gone = asyncio.create_task(_disconnect(receive))
            done, pending = await asyncio.wait({serving, gone}, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            for task in done:
                task.result()
        except StoreError as error:
            log.info("a stream ended: %s", error)
        finally:
            self._clients -= 1
            metrics.streams.dec()
            if not self._clients and self._task:
                self._task.cancel()
                self._task = None

    async def _join(self) -> None:
        """Start the hub for the first client."""
        async with self._joining:
            if self._task is None:
                self._epoch = await asyncio.to_thread(lambda: self.store.epoch)
                self._position = await self._read_last()
                self._blocks.clear()
                self._task = asyncio.create_task(self._run(), name="stream-hub")

    async def _serve(self, scope: Scope, send: Send) -> None:
        query = _query(scope)
        position, reset = await self._start(scope)
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"text/event-stream"),
                    (b"cache-control", b"no-store"),
                    (b"x-accel-buffering", b"no"),
                ],
            }
        )
        head = b"retry: 1000\n\n"
        if reset:
            head += b"event: reset\ndata: {}\n\n"
        await _send(send, head)
        epoch = self._epoch
        while not self._closing and epoch == self._epoch:
            tick = self._tick
            block = self._blocks.get(position)
            if block is None and position < self._position:
                records = await self._read_after(position)
                if not records:
                    position = self._position  # what was there has been dropped meanwhile
                    continue
                block = _Block(records, b"", records[-1].seq)
            if block is None:
                await tick.wait()
                if tick is self._tick or position < self._position:
                    continue
                frames = HEARTBEAT
            else:
                position = block.end
                frames = self._frames(block, query)
            if frames:
                await _send(send, frames)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _start(self, scope: Scope) -> tuple[int, bool]:
        """Where the client goes on, and whether that is the start of another history."""
        wanted = header(scope, b"last-event-id") or _parameter(scope, "after")
        if not wanted:
            return self._position, False
        epoch, _, seq = wanted.rpartition("-")
        if epoch != self.store.epoch or not seq.isdecimal() or len(seq) > MAX_DIGITS:
            return 0, True
        # Perhaps another process told of it, and this one has yet to hear.
        return min(int(seq), await self._read_last()), False

    def _frames(self, block: _Block, query: Query | None) -> bytes:
        if query is not None:
            return self._encode(search(block.records, query))
        return block.frames or self._encode(block.records)

    def _encode(self, records: Iterable[Record]) -> bytes:
        epoch = self.store.epoch.encode()
        return b"".join(
            b"id: %s-%d\ndata: %s\n\n" % (epoch, record.seq, record.to_json()) for record in records
        )

    async def _run(self) -> None:
        """Make blocks of what is new, and a tick for each; a heartbeat when there is nothing."""
        loop = asyncio.get_running_loop()
        last_tick = loop.time()
        trouble = ""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    self._news.wait(), POLL_SECONDS if self.store.shared else HEARTBEAT_SECONDS
                )
            self._news.clear()
            try:
                if self.store.epoch != self._epoch:
                    await self._start_anew()
                records = await self._read_after(self._position)
                trouble = ""
            except StoreError as error:
                if str(error) != trouble:  # told once, not five times a second
                    trouble = str(error)
                    log.warning("cannot read what is new: %s", error)
                records = []
            if records:
                self._add(records)
            elif loop.time() - last_tick < HEARTBEAT_SECONDS:
                continue
            last_tick = loop.time()
            self._tick, tick = asyncio.Event(), self._tick
            tick.set()
            if records:
                self._news.set()  # there may be more than fit the block
            if len(records) < BLOCK_EVENTS and _size(records) < BLOCK_BYTES // 2:
                await asyncio.sleep(INTERVAL_SECONDS)

    async def _start_anew(self) -> None:
        """The history was lost: end all streams, so that their clients learn of it on return."""
        epoch = self.store.epoch
        self._position = await self._read_last()
        self._epoch = epoch
        self._blocks.clear()
        self._tick, tick = asyncio.Event(), self._tick
        tick.set()

    def _add(self, records: list[Record]) -> None:
        end = records[-1].seq
        self._blocks[self._position] = _Block(records, self._encode(records), end)
        self._position = end
        size = sum(len(block.frames) for block in self._blocks.values())
        while len(self._blocks) > 1 and (len(self._blocks) > BLOCKS_KEPT or size > BLOCKS_BYTES):
            _, oldest = self._blocks.popitem(last=False)
            size -= len(oldest.frames)

    async def _read_after(self, position: int) -> list[Record]:
        if self.store.slow:
            return await asyncio.to_thread(self.store.after, position, BLOCK_EVENTS, BLOCK_BYTES)
        return self.store.after(position, BLOCK_EVENTS, BLOCK_BYTES)

    async def _read_last(self) -> int:
        if self.store.slow:
            return await asyncio.to_thread(self.store.last)
        return self.store.last()


async def _disconnect(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


def _size(records: list[Record]) -> int:
    return sum(len(record.event) for record in records)


def _query(scope: Scope) -> Query | None:
    query = Query(
        type=_parameter(scope, "type"),
        source=_parameter(scope, "source"),
        subject=_parameter(scope, "subject"),
        text=_parameter(scope, "text"),
    )
    return query if query != Query() else None


def _parameter(scope: Scope, name: str) -> str:
    query = str(scope["query_string"], "latin-1")
    return urllib.parse.parse_qs(query).get(name, [""])[-1]
