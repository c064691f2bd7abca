"""Jetstream: commits as JSON over a WebSocket, from a cursor on.

Contract: https://github.com/bluesky-social/jetstream (README, pkg/models, pkg/server).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import time
from bisect import bisect_right
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from aiohttp import web

_COLLECTION = re.compile(r"[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)+(\.\*)?|[a-zA-Z0-9-]+\.\*")
#: Events kept for those who come with a cursor.
_MOST_EVENTS = 1_000_000
_COLLECTION_OF_POSTS = "app.bsky.feed.post"
_AUTHOR = "did:plc:sandbox2streamops3knative"


class Jetstream:
    """The events in the order of their cursors, and those who read them."""

    def __init__(self) -> None:
        #: Cursor, collection ("" for others), did, JSON.
        self._events: list[tuple[int, str, str, str]] = []
        self._keys = itertools.count(1)
        self._sockets: set[web.WebSocketResponse] = set()
        self.connections = 0

    def add_to(self, app: web.Application, controls: dict[str, Callable[..., Any]]) -> None:
        """Add the routes, and the functions of the control interface."""
        app.router.add_get("/subscribe", self.subscribe)
        app.on_shutdown.append(self._hang_up)
        controls |= {
            "GET /jetstream": lambda _: {
                "connections": self.connections,
                "events": len(self._events),
                "open": len(self._sockets),
            },
            "POST /jetstream/posts": lambda entries: [self.publish(entry) for entry in entries],
            "POST /jetstream/deletions": self._delete,
            "POST /jetstream/accounts": self._set_account,
            "POST /jetstream/disconnect": self._disconnect,
        }

    def publish(self, entry: dict[str, Any]) -> str:
        """Publish a post, `{"text": …, "langs": […], "did": …, "handle": …}`; return its URI."""
        did = str(entry.get("did", _AUTHOR))
        if "handle" in entry:
            handle = {"did": did, "handle": entry["handle"], "seq": 1, "time": _now()}
            self._add("", did, {"kind": "identity", "identity": handle})
        collection = str(entry.get("collection", _COLLECTION_OF_POSTS))
        key = f"3sandbox{next(self._keys):06d}"
        record = {
            "$type": collection,
            "createdAt": _now(),
            "langs": entry.get("langs") or [entry.get("lang", "en")],
            "text": entry.get("text", ""),
        }
        content = {"record": record, "cid": f"bafyreisandbox{key}"}
        uri = f"at://{did}/{collection}/{key}"
        self._commit(uri, entry.get("operation", "create"), content)
        return uri

    def _delete(self, uris: list[str]) -> None:
        for uri in uris:
            self._commit(uri, "delete", {})

    def _commit(self, uri: str, operation: str, content: dict[str, Any]) -> None:
        did, collection, key = uri.removeprefix("at://").split("/")
        commit = {
            "rev": f"3rev{next(self._keys):09d}",
            "operation": operation,
            "collection": collection,
            "rkey": key,
            **content,
        }
        self._add(collection, did, {"kind": "commit", "commit": commit})

    def _set_account(self, entry: dict[str, str]) -> None:
        """Set an account's status: {"did": …, "status": "deleted"}."""
        account = {"active": False, "did": entry["did"], "seq": 1, "time": _now()}
        event = {"kind": "account", "account": account | {"status": entry["status"]}}
        self._add("", entry["did"], event)

    def _add(self, collection: str, did: str, event: dict[str, Any]) -> None:
        cursor = max(time.time_ns() // 1000, self._events[-1][0] + 1 if self._events else 0)
        text = json.dumps({"did": did, "time_us": cursor, **event})
        self._events.append((cursor, collection, did, text))
        if len(self._events) > _MOST_EVENTS:
            del self._events[: _MOST_EVENTS // 10]

    async def subscribe(self, request: web.Request) -> web.StreamResponse:
        """Send events until either side ends it."""
        options = _Options(request)
        socket = web.WebSocketResponse(heartbeat=30, compress=False)
        await socket.prepare(request)
        self._sockets.add(socket)
        self.connections += 1
        # Without a cursor, or with one that lies in the future, the events from now on.
        now = time.time_ns() // 1000
        after = self._events[-1][0] if self._events else 0
        if options.cursor is not None and options.cursor <= now:
            after = options.cursor - 1
        reading = asyncio.create_task(_until_closed(socket))
        try:
            while not socket.closed and not reading.done():
                position = bisect_right(self._events, after, key=itemgetter(0))
                for cursor, *event in self._events[position : position + 200]:
                    if options.wants(*event):
                        await socket.send_str(event[-1])
                    after = cursor
                if position + 200 >= len(self._events):
                    await asyncio.sleep(0.02)
        except ConnectionError:
            pass  # the client has gone
        finally:
            reading.cancel()
            self._sockets.discard(socket)
        return socket

    def _disconnect(self, _: None) -> None:
        """Break the connections off."""
        for socket in tuple(self._sockets):
            if (transport := socket.get_extra_info("socket")) is not None:
                with contextlib.suppress(OSError):  # it has closed by itself
                    transport.shutdown(2)

    async def _hang_up(self, _app: web.Application) -> None:
        for socket in tuple(self._sockets):
            await socket.close()


class _Options:
    """The parameters of a subscription; 400 for what Jetstream does not take."""

    def __init__(self, request: web.Request) -> None:
        query = request.query
        self.collections = query.getall("wantedCollections", [])
        self.dids = set(query.getall("wantedDids", []))
        for name in self.collections:
            if not _COLLECTION.fullmatch(name):
                raise web.HTTPBadRequest(text=f"invalid collection: {name}")
        self.cursor = _number(query, "cursor")
        self.longest = _number(query, "maxMessageSizeBytes") or 0
        if query.get("compress") == "true" or query.get("requireHello") == "true":
            raise web.HTTPNotImplemented(text="compress and requireHello are not modelled")

    def wants(self, collection: str, did: str, text: str) -> bool:
        """Return whether an event is sent; identities and accounts always are."""
        if self.dids and did not in self.dids:
            return False
        if 0 < self.longest < len(text.encode()):
            return False
        return not (collection and self.collections) or any(
            name == collection or (name.endswith(".*") and collection.startswith(name[:-1]))
            for name in self.collections
        )


def _number(query: Any, name: str) -> int | None:
    text = query.get(name, "")
    if not re.fullmatch(r"-?[0-9]{0,19}", text):
        raise web.HTTPBadRequest(text=f"invalid {name}: {text}")
    return int(text) if text.lstrip("-") else None


async def _until_closed(socket: web.WebSocketResponse) -> None:
    async for _ in socket:
        pass


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
