"""`GET /api/stream`: server-sent events to many clients, each event encoded once for all.

A hub reads what is new from the store, at most every INTERVAL_SECONDS, into small blocks. A client
has a position and nothing else: at the start of a known block it is sent that block, further
behind it is sent what is read from the store for it. So there is no queue that could grow, and a
client that reconnects with Last-Event-ID continues exactly where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from event_viewer import metrics
from event_viewer.http import PART_BYTES, Problem, header, send_part
from event_viewer.reading import Reader
from event_viewer.store import removal
from event_viewer.store.interface import Filter, Query, Record, StoreError, searchable

log = logging.getLogger(__name__)

#: Shortest time between two blocks: events that come faster travel together.
INTERVAL_SECONDS = 0.1
#: How often a store others write to is asked for news.
POLL_SECONDS = 0.2
HEARTBEAT_SECONDS = 15.0
BLOCK_EVENTS = 200
#: Bytes of the blocks kept for clients that are a little behind.
BLOCKS_BYTES = 8 << 20
#: Of a position in the history.
MAX_DIGITS = 19
HEARTBEAT = b": still here\n\n"
#: What ends a record's JSON and its message.
EVENT_END = b"}\n\n"
#: Frames up to this size are sent at once; only a single event's are larger.
MAX_FRAMES_BYTES = 2 * PART_BYTES
MAX_FILTER = 1000
#: What the frames of a deletion contain.
SUFFIX_IN_JSON = f'{removal.SUFFIX}"'.encode()


class _Rest(NamedTuple):
    """What is left to send of a large event's frame, as offsets in the frame."""

    seq: int
    offset: int
    event_start: int
    event_end: int


class _Block:
    """Consecutive events: some that fit a part of an answer, or a single large one."""

    def __init__(self, records: list[Record], epoch: str) -> None:
        self.records = records
        self.end = records[-1].seq
        self.epoch = epoch.encode()
        self.frames = b"".join(map(self._frame, records))
        self._texts: list[str] | None = None

    def _frame(self, record: Record) -> bytes:
        head = b"id: %s-%d\ndata: %s" % (self.epoch, record.seq, record.json_head())
        return head + record.event + EVENT_END

    def rest(self) -> _Rest:
        """Return what is left of the block's only event after a part was sent."""
        (record,) = self.records
        end = len(self.frames) - len(EVENT_END)
        return _Rest(record.seq, PART_BYTES, end - len(record.event), end)

    def matching(self, query: Query) -> bytes:
        """Return the frames of the events that fit; takes some time for large events."""
        attributes, needle = Filter(replace(query, text="")), query.text.casefold()
        if needle and self._texts is None:
            self._texts = [searchable(record.event) for record in self.records]
        texts = self._texts or [""] * len(self.records)
        return b"".join(
            self._frame(record)
            for record, text in zip(self.records, texts, strict=True)
            if needle in text and attributes.fits(record)
        )


class Hub:
    """The streams of one worker process."""

    def __init__(self, reader: Reader, max_streams: int) -> None:
        self.reader = reader
        self.store = reader.store
        self.max_streams = max_streams
        self._filters = ThreadPoolExecutor(1, thread_name_prefix="filter")
        self._clients = 0
        self._closing = False
        self._epoch = ""
        self._position = 0
        self._blocks: OrderedDict[int, _Block] = OrderedDict()
        self._size = 0
        self._news = asyncio.Event()
        self._tick = asyncio.Event()
        self._joining = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def notify(self) -> None:
        """Note that something was stored."""
        self._news.set()

    def close(self) -> None:
        """End all streams; their clients reconnect to another process."""
        self._closing = True
        if self._task:
            self._task.cancel()
        self._tick.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one client until it leaves."""
        if self._clients >= self.max_streams or self._closing:
            raise Problem(503, "too many streams are open", ((b"retry-after", b"5"),))
        query = _query(Request(scope))
        self._clients += 1
        metrics.streams.inc()
        try:
            await self._join()
            position, reset = await self._start(scope)
            await self._serve(query, position, reset, receive, send)
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
                self._epoch = await self.reader.run(lambda: self.store.epoch)
                self._position = await self.reader.run(self.store.last)
                self._forget_blocks()
                self._task = asyncio.create_task(self._run(), name="stream-hub")

    async def _start(self, scope: Scope) -> tuple[int, bool]:
        """Return where the client continues, and whether that is the start of another history."""
        wanted = header(scope["headers"], b"last-event-id").decode("latin-1")
        wanted = wanted or Request(scope).query_params.get("after", "")
        if not wanted:
            return self._position, False
        epoch, _, seq = wanted.rpartition("-")
        if (
            epoch != self.store.epoch
            or not (seq.isascii() and seq.isdecimal())
            or len(seq) > MAX_DIGITS
        ):
            return 0, True
        # Perhaps it comes from another process, whose events this one has yet to read.
        return min(int(seq), await self.reader.run(self.store.last)), False

    async def _serve(
        self, query: Query | None, position: int, reset: bool, receive: Receive, send: Send
    ) -> None:
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
        sending = asyncio.create_task(self._send_events(query, position, reset, send))
        gone = asyncio.create_task(_disconnect(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, gone):
                task.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)
        if not sending.cancelled() and (error := sending.exception()):
            if not isinstance(error, StoreError):
                raise error
            log.info("a stream ended: %s", error)

    async def _send_events(
        self, query: Query | None, position: int, reset: bool, send: Send
    ) -> None:
        head = b"retry: 1000\n\n"
        if reset:
            head += b"event: reset\ndata: {}\n\n"
        await send_part(send, head)
        epoch = self._epoch
        while not self._closing and epoch == self._epoch:
            tick = self._tick
            block = self._blocks.get(position)
            if block is None and position < self._position:
                block = await self._read_block(position)
                if block is None:
                    position = self._position  # what was there has been dropped meanwhile
                    continue
            if block is not None:
                start, position = position, block.end
                if query is None:
                    frames = block.frames
                else:
                    frames = await self._matching(block, query)
                is_large = len(frames) > MAX_FRAMES_BYTES
                rest = block.rest() if is_large else None
                if is_large:
                    frames = frames[:PART_BYTES]
                del block  # while the client reads, nothing of a large event is held but a part
                if frames:
                    await send_part(send, frames)
                while rest is not None:
                    frames, rest = await self._next_part(start, rest)
                    await send_part(send, frames)
                continue
            await tick.wait()
            if tick is not self._tick and position >= self._position:
                await send_part(send, HEARTBEAT)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _next_part(self, start: int, rest: _Rest) -> tuple[bytes, _Rest | None]:
        """Return the next part of a large event's frame, and what is left after it."""
        block = self._blocks.get(start)
        if block is not None:
            part = block.frames[rest.offset : rest.offset + PART_BYTES]
        elif rest.offset < rest.event_end:
            at, size = rest.offset - rest.event_start, min(PART_BYTES, rest.event_end - rest.offset)
            part = await self.reader.run(lambda: self.store.part(rest.seq, at, size))
        else:
            part = EVENT_END[rest.offset - rest.event_end :]
        if not part:
            raise StoreError("the event that is being sent has been removed")
        offset = rest.offset + len(part)
        is_last = offset >= rest.event_end + len(EVENT_END)
        return part, None if is_last else rest._replace(offset=offset)

    async def _matching(self, block: _Block, query: Query) -> bytes:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._filters, block.matching, query)

    async def _read_block(self, position: int) -> _Block | None:
        epoch = self._epoch

        def read() -> _Block | None:
            records = self.store.after(position, BLOCK_EVENTS, PART_BYTES)
            return _Block(records, epoch) if records else None

        return await self.reader.run(read)

    async def _run(self) -> None:
        """Make blocks of what is new, and a tick for each; a heartbeat when there is nothing."""
        loop = asyncio.get_running_loop()
        last_tick = loop.time()
        trouble = ""
        while True:
            # Not wait_for: before Python 3.12 it may miss that the task is cancelled.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(
                    POLL_SECONDS if self.store.shared else HEARTBEAT_SECONDS
                ):
                    await self._news.wait()
            self._news.clear()
            block = None
            try:
                if self.store.epoch != self._epoch:
                    await self._start_anew()
                start = self._position
                block = await self._read_block(start)
                trouble = ""
            except StoreError as error:
                if str(error) != trouble:  # logged once, not five times a second
                    trouble = str(error)
                    log.warning("cannot read new events: %s", error)
            if block is not None:
                self._add(start, block)
            elif loop.time() - last_tick < HEARTBEAT_SECONDS:
                continue
            last_tick = loop.time()
            self._tick, tick = asyncio.Event(), self._tick
            tick.set()
            if block is not None:
                self._news.set()  # there may be more than fits the block
            if block is None or len(block.frames) < PART_BYTES // 2:
                await asyncio.sleep(INTERVAL_SECONDS)

    async def _start_anew(self) -> None:
        """End all streams after the history was lost; their clients hear of it on return."""
        epoch = self.store.epoch
        self._position = await self.reader.run(self.store.last)
        self._epoch = epoch
        self._forget_blocks()
        self._tick, tick = asyncio.Event(), self._tick
        tick.set()

    def _forget_blocks(self) -> None:
        self._blocks.clear()
        self._size = 0

    def _add(self, start: int, block: _Block) -> None:
        if SUFFIX_IN_JSON in block.frames:  # something may have been removed that is in here
            self._forget_blocks()
        self._blocks[start] = block
        self._position = block.end
        self._size += len(block.frames)
        while len(self._blocks) > 1 and self._size > BLOCKS_BYTES:
            _, oldest = self._blocks.popitem(last=False)
            self._size -= len(oldest.frames)


async def _disconnect(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _query(request: Request) -> Query | None:
    given = request.query_params
    query = Query(
        type=given.get("type", ""),
        source=given.get("source", ""),
        subject=given.get("subject", ""),
        text=given.get("text", ""),
    )
    if len(query.text) > MAX_FILTER:
        raise Problem(400, f"text is longer than {MAX_FILTER} characters")
    return query if query != Query() else None
