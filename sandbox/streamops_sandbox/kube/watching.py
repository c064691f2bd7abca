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
        self._timeout: float = (
            int(text) if text.isdigit() and int(text) else _MIN_TIMEOUT * (1 + random.random())  # noqa: S311 - spreads reconnects
        )
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
            await response.write(self._too_old())
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
            changes = []
            while watcher.events:
                change = self._change(watcher.events.popleft())
                if change:
                    changes.append(change)
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
        events = collection.since(start)
        if events is None:
            return None
        namespace = self._chosen.namespace
        changes = (self._change(e) for e in events if namespace in ("", e.stored.namespace))
        return [change for change in changes if change]

    def _too_old(self) -> bytes:
        compacted = self._store.collection(self._resource.collection).compacted
        message = f"too old resource version: {self._from} ({compacted})"
        return watch_line("ERROR", orjson.dumps(errors.expired(message).body()))

    def _change(self, event: Event) -> Change | None:
        """What a change is to this watch; None when it is about no selected object."""
        self._sent = event.revision
        if self._everything:
            return (event.type, event.stored, event)
        before = event.before is not None and self._chosen.matches(event.before)
        after = event.type != DELETED and self._chosen.matches(event.stored)
        if before and after:
            return (MODIFIED, event.stored, event if event.type == MODIFIED else None)
        if after:
            return (ADDED, event.stored, event if event.type == ADDED else None)
        if before and event.before is not None:
            # What has left the selection is told with its last state in it, at the change's revision.
            last = event.before.load()
            gone = event.stored if event.type == DELETED else Stored(last, event.revision)
            return (DELETED, gone, event if event.type == DELETED else None)
        return None

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
        obj = {
            "kind": self._resource.kind,
            "apiVersion": self._resource.api_version,
            "metadata": metadata,
        }
        return watch_line("BOOKMARK", orjson.dumps(obj))


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
