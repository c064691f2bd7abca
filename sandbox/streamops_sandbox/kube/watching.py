"""Watches: a stream of changes from a resourceVersion on.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping

import orjson
from aiohttp import web

from streamops_sandbox.kube import conversion, errors
from streamops_sandbox.kube.listing import Selection
from streamops_sandbox.kube.requestinfo import flag
from streamops_sandbox.kube.resources import Resource
from streamops_sandbox.kube.store import (
    ADDED,
    DELETED,
    MODIFIED,
    Event,
    Store,
    Stored,
    Watcher,
    watch_line,
)
from streamops_sandbox.objects import Object

#: Turns an object's JSON into another form (a table, bare metadata); None sends it as it is.
Render = Callable[[bytes], bytes]
#: What a watch tells: the type, the object, and the stored event that says just this, if any.
Change = tuple[str, Stored, Event | None]

_BOOKMARK_SECONDS = 60.0
_MIN_TIMEOUT = 1800
#: Bytes written at once: clients that ask for everything and read slowly must not fill the memory.
_BATCH_BYTES = 64 * 1024
_INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class Watch:
    """One watch request."""

    def __init__(
        self,
        store: Store,
        resource: Resource,
        chosen: Selection,
        query: Mapping[str, str],
        render: Render | None,
    ) -> None:
        self._store = store
        self._resource = resource
        self._chosen = chosen
        self._render = render
        self._bookmarks = flag(query.get("allowWatchBookmarks"))
        self._send_initial = flag(query.get("sendInitialEvents"))
        self._from = query.get("resourceVersion") or ""
        text = query.get("timeoutSeconds") or ""
        chance = _MIN_TIMEOUT * (1 + random.random())  # noqa: S311 - spreads reconnects
        self._timeout: float = (text.isdigit() and int(text)) or chance
        self._everything = not (chosen.labels or chosen.fields)
        self._sent = 0

    async def serve(self, request: web.BaseRequest, warnings: list[str]) -> web.StreamResponse:
        """Answer until the client goes, the time is over, or the type is no longer served."""
        collection = self._store.collection(self._resource.collection)
        watcher = Watcher(self._chosen.namespace)
        first = self._first()
        collection.watchers.add(watcher)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        for warning in warnings:
            response.headers.add("Warning", f'299 - "{warning}"')
        response.enable_chunked_encoding()
        try:
            await response.prepare(request)
            await self._stream(first, watcher, response)
            await response.write_eof()
        except ConnectionError:
            pass  # the client has gone
        finally:
            collection.watchers.discard(watcher)
        return response

    async def _stream(
        self, first: list[Change] | None, watcher: Watcher, response: web.StreamResponse
    ) -> None:
        if first is None:
            compacted = self._store.collection(self._resource.collection).compacted
            gone = errors.expired(f"too old resource version: {self._from} ({compacted})")
            await response.write(watch_line("ERROR", orjson.dumps(gone.body())))
            return
        try:
            await self._send(first, response)
            if self._send_initial and self._bookmarks:
                await response.write(self._bookmark({_INITIAL_EVENTS_END: "true"}))
            await self._follow(watcher, response)
        except errors.StatusError as error:  # a conversion failed
            await response.write(watch_line("ERROR", orjson.dumps(error.body())))

    async def _follow(self, watcher: Watcher, response: web.StreamResponse) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._timeout
        while (left := end - loop.time()) > 0:
            await watcher.wait(min(left, _BOOKMARK_SECONDS) if self._bookmarks else left)
            if watcher.closed:
                return
            waiting = [watcher.events.popleft() for _ in range(len(watcher.events))]
            changes = [change for event in waiting if (change := self._change(event))]
            if changes:
                await self._send(changes, response)
            elif self._bookmarks and self._store.revision > self._sent:
                await response.write(self._bookmark())

    def _first(self) -> list[Change] | None:
        """What to tell at the beginning; None when it is no longer known."""
        collection = self._store.collection(self._resource.collection)
        start = int(self._from) if self._from.isdigit() else 0
        if self._send_initial or not start:
            self._sent = self._store.revision
            return [
                (ADDED, item, None)
                for item in collection.items(self._chosen.namespace)
                if self._chosen.matches(item)
            ]
        events, namespace = collection.since(start), self._chosen.namespace
        if events is None:
            return None
        changes = (self._change(e) for e in events if namespace in ("", e.stored.namespace))
        return [change for change in changes if change]

    def _change(self, event: Event) -> Change | None:
        """What a change is to this watch; None when it is about no selected object."""
        self._sent = event.stored.revision
        if self._everything:
            return (event.type, event.stored, event)
        before = event.before if event.before and self._chosen.matches(event.before) else None
        after = event.type != DELETED and self._chosen.matches(event.stored)
        if not before and not after:
            return None
        type_ = DELETED if not after else MODIFIED if before else ADDED
        if type_ == event.type or not before or after:
            return (type_, event.stored, event if type_ == event.type else None)
        # What has left the selection is told with its last state in it, at the change's revision.
        return (DELETED, Stored(before.load(), event.stored.revision), None)

    async def _send(self, changes: list[Change], response: web.StreamResponse) -> None:
        """Write some at a time, each time waiting for a client that reads slowly."""
        for batch in _batches(changes):
            await response.write(self._lines(batch))

    def _lines(self, changes: list[Change]) -> bytes:
        if self._render is None and all(
            stored.api_version == self._resource.api_version for _, stored, _ in changes
        ):
            return b"".join(
                event.line() if event else watch_line(type_, stored.raw)
                for type_, stored, event in changes
            )
        raws = [conversion.raw(stored, self._resource) for _, stored, _ in changes]
        if self._render is not None:
            raws = [self._render(raw) for raw in raws]
        return b"".join(
            watch_line(type_, raw) for (type_, _, _), raw in zip(changes, raws, strict=True)
        )

    def _bookmark(self, annotations: Mapping[str, str] | None = None) -> bytes:
        self._sent = self._store.revision
        metadata: Object = {"resourceVersion": str(self._store.revision), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = dict(annotations)
        kind = {"kind": self._resource.kind, "apiVersion": self._resource.api_version}
        return watch_line("BOOKMARK", orjson.dumps({**kind, "metadata": metadata}))


def _batches(changes: list[Change]) -> Iterator[list[Change]]:
    """Changes, some at a time; without any, once none: with it the headers go out."""
    batch: list[Change] = []
    size = 0
    for change in changes:
        batch.append(change)
        size += len(change[1].raw)
        if size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch or not changes:
        yield batch
