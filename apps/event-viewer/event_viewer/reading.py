"""Reading of the store off the event loop, in bounded numbers, times and bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar

from event_viewer.http import PART_BYTES, RETRY_AFTER, Disconnected, Problem
from event_viewer.store.interface import MAX_BYTES, Page, Query, Record, Store

T = TypeVar("T")

#: Threads for what takes a bounded time, and for searches, so that those wait for each other only.
READERS = 4
SEARCHERS = 2
#: Records in a part of an answer: small ones take more than their events' bytes.
PART_RECORDS = 200
#: Searches that may run and wait.
MAX_SEARCHES = 10


class Reader:
    """Asynchronous access to a store."""

    def __init__(self, store: Store, search_timeout: float) -> None:
        self.store = store
        self.search_timeout = search_timeout
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        self._searchers = ThreadPoolExecutor(SEARCHERS, thread_name_prefix="searcher")
        # Also what has been read and not been taken by its client's task yet.
        self._reads = asyncio.Semaphore(2 * READERS)
        self._searches = 0

    async def run(self, read: Callable[[], T]) -> T:
        """Return what a short read returns."""
        async with self._reads:
            return await asyncio.get_running_loop().run_in_executor(self._readers, read)

    async def search(self, work: Callable[[float], T]) -> T:
        """Return what `work` returns, given its deadline in seconds of time.monotonic.

        Raises:
            Problem: 503 when too many searches wait already.
        """
        if self._searches >= MAX_SEARCHES:
            raise Problem(503, "too many searches are running; try again later", RETRY_AFTER)
        self._searches += 1
        try:
            deadline = time.monotonic() + self.search_timeout
            return await asyncio.get_running_loop().run_in_executor(self._searchers, work, deadline)
        finally:
            self._searches -= 1

    async def page(self, query: Query, size: int) -> Page:
        """Return a page of the history, or its start; only one with filters takes a search."""
        query = replace(query, limit=min(query.limit, PART_RECORDS))
        if not _is_search(query):
            return await self.run(lambda: self.store.page(query, size))
        return await self.search(lambda deadline: self.store.page(query, size, deadline))

    async def page_parts(self, query: Query, page: Page) -> AsyncIterator[bytes]:
        """Yield a page's records, separated by commas, in small parts; then `],"next":…`.

        Args:
            query: What the page holds.
            page: Its start, as `page` returned it.
        """
        size, limit, separator = MAX_BYTES, query.limit, b""
        deadline = time.monotonic() + self.search_timeout
        while True:
            records, following, expired = page
            limit -= len(records)
            size -= sum(len(record.event) for record in records)
            page = Page([], following)  # nothing but the part that is sent stays in memory
            async for part in self.parts(records):
                yield separator + part if separator else part
                separator = b""
            separator = b"," if limit < query.limit else b""
            if following is None or limit <= 0 or size <= 0 or expired:
                break
            if _is_search(query) and time.monotonic() > deadline:
                break
            rest = replace(query, cursor=following, limit=limit)
            try:
                page = await self.page(rest, min(size, PART_BYTES))
            except Problem:  # too many searches: the client continues from here
                break
            if not page.records:
                following = page.next
                break
        yield b'],"next":' + (b"null" if following is None else b"%d" % following)

    async def parts(self, records: list[Record]) -> AsyncIterator[bytes]:
        """Yield records as JSON, separated by commas; takes them out of the list.

        They are small together, or it is a single one, which is read again as it is sent.
        """
        if len(records) != 1 or len(records[0].event) <= PART_BYTES:
            lines = [record.to_json() for record in records]
            records.clear()
            if lines:
                yield b",".join(lines)
            return
        record = records.pop()
        seq, size = record.seq, len(record.event)
        head, first = record.json_head(), record.event[:PART_BYTES]
        del record
        yield head + first
        for offset in range(PART_BYTES, size, PART_BYTES):
            part = await self.run(partial(self.store.part, seq, offset, PART_BYTES))
            if not part:
                raise Disconnected  # it has been removed meanwhile: the answer cannot be completed
            yield part
        yield b"}"

    def close(self) -> None:
        """End the threads once they have nothing to do."""
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._searchers.shutdown(wait=False, cancel_futures=True)


def _is_search(query: Query) -> bool:
    """Return whether a query may have to look through many events."""
    by_identity = query.source and query.id
    return not by_identity and query != Query(limit=query.limit, cursor=query.cursor)
