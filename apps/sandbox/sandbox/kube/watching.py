"""Watches: a stream of changes from a resourceVersion on.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from sandbox.kube import errors, listing
from sandbox.kube.listing import Selection
from sandbox.kube.resources import Resource
from sandbox.kube.store import ADDED, DELETED, MODIFIED, Event, Store, Stored, Watcher, watch_line

Json = dict[str, Any]
#: Turns an object's JSON into another form (a table, bare metadata); None sends it as it is.
Render = Callable[[bytes], bytes]

_BOOKMARK_SECONDS = 60.0
_MIN_TIMEOUT = 1800
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
        self._bookmarks = query.get("allowWatchBookmarks") in ("true", "1")
        self._send_initial = query.get("sendInitialEvents") in ("true", "1")
        self._from = query.get("resourceVersion") or ""
        text = query.get("timeoutSeconds") or ""
        self._timeout: float = (
            int(text) if text.isdigit() and int(text) else _MIN_TIMEOUT * (1 + random.random())  # noqa: S311 - spreads reconnects
        )
        self._plain = render is None and resource.api_version == resource.storage_version
        self._sent = 0

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer until the client goes, the time is over, or the type is no longer served."""
        collection = self._store.collection(self._resource.collection)
        watcher = Watcher(self._chosen.namespace)
        first = self._first_lines()  # raises before anything is answered
        collection.watchers.add(watcher)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        try:
            await response.prepare(request)
            await response.write(first)
            await self._follow(watcher, response)
            await response.write_eof()
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client has gone
        finally:
            collection.watchers.discard(watcher)
        return response

    async def _follow(self, watcher: Watcher, response: web.StreamResponse) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._timeout
        while (left := end - loop.time()) > 0:
            await watcher.wait(min(left, _BOOKMARK_SECONDS) if self._bookmarks else left)
            if watcher.closed:
                return
            lines = []
            while watcher.events:
                line = self._line(watcher.events.popleft())
                if line:
                    lines.append(line)
            if lines:
                await response.write(b"".join(lines))
            elif self._bookmarks and self._store.revision > self._sent:
                await response.write(self._bookmark())

    def _first_lines(self) -> bytes:
        collection = self._store.collection(self._resource.collection)
        start = int(self._from) if self._from.isdigit() else 0
        if self._send_initial or not start:
            lines = [
                self._object_line(ADDED, item)
                for item in collection.items(self._chosen.namespace)
                if self._chosen.matches(item)
            ]
            if self._send_initial and self._bookmarks:
                lines.append(self._bookmark({_INITIAL_EVENTS_END: "true"}))
            self._sent = self._store.revision
            return b"".join(lines)
        events = collection.since(start)
        if events is None:
            error = errors.StatusError(
                410, "Expired", f"too old resource version: {start} ({collection.compacted})"
            )
            self._timeout = 0
            return watch_line("ERROR", orjson.dumps(error.body()))
        namespace = self._chosen.namespace
        return b"".join(
            line
            for event in events
            if namespace in ("", event.stored.namespace) and (line := self._line(event))
        )

    def _line(self, event: Event) -> bytes | None:
        """The line for a change; None when it is about no selected object."""
        self._sent = event.revision
        if not self._chosen.labels and not self._chosen.fields:
            return event.line() if self._plain else self._object_line(event.type, event.stored)
        before = event.before is not None and self._chosen.matches(event.before)
        after = event.type != DELETED and self._chosen.matches(event.stored)
        if before and after:
            type_ = MODIFIED
        elif after:
            type_ = ADDED
        elif before:
            type_ = DELETED
        else:
            return None
        return self._object_line(type_, event.stored)

    def _object_line(self, type_: str, stored: Stored) -> bytes:
        raw = listing.raw(stored, self._resource)
        return watch_line(type_, self._render(raw) if self._render else raw)

    def _bookmark(self, annotations: Mapping[str, str] | None = None) -> bytes:
        self._sent = self._store.revision
        metadata: Json = {"resourceVersion": str(self._store.revision), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = dict(annotations)
        obj = {
            "kind": self._resource.kind,
            "apiVersion": self._resource.api_version,
            "metadata": metadata,
        }
        return watch_line("BOOKMARK", orjson.dumps(obj))
