"""Objects in memory, with etcd's semantics: one revision counter, history, watches.

An object is kept as the JSON it is answered with. That is small, needs no defensive copies, and
lists and watches send it on without serialising it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import orjson

from streamops_sandbox.kube import selectors
from streamops_sandbox.objects import Object

Key = tuple[str, str]

ADDED: Final = "ADDED"
MODIFIED: Final = "MODIFIED"
DELETED: Final = "DELETED"

#: How many changes of one resource type can be resumed from.
HISTORY = 1000
#: How many changes may wait for a watcher that does not read; then its watch ends.
_MAX_WAITING = 10_000


class Stored:
    """One version of one object."""

    __slots__ = (
        "_fields", "api_version", "labels", "name", "namespace", "no_op", "raw", "revision", "uid",
    )  # fmt: skip

    def __init__(self, obj: Object, revision: int) -> None:
        metadata = obj["metadata"]
        metadata["resourceVersion"] = str(revision)
        self.raw: bytes = orjson.dumps({"apiVersion": None, "kind": None, **obj})
        self.revision = revision
        self.api_version: str = obj["apiVersion"]
        self.namespace: str = metadata.get("namespace", "")
        self.name: str = metadata["name"]
        self.uid: str = metadata.get("uid", "")
        self.labels: dict[str, str] = metadata.get("labels") or {}
        self._fields: dict[str, str] | None = None
        #: What identifies the last apply that changed nothing: the same one changes nothing again.
        self.no_op = 0

    def load(self) -> Object:
        """A fresh copy that the caller may change."""
        obj: Object = orjson.loads(self.raw)
        return obj

    def field(self, path: str) -> str:
        """A field as text, for field selectors."""
        if path == "metadata.name":
            return self.name
        if path == "metadata.namespace":
            return self.namespace
        if self._fields is None:
            self._fields = {}
        if path not in self._fields:
            self._fields[path] = selectors.read_field(self.load(), path)
        return self._fields[path]


@dataclass(slots=True, eq=False)
class Event:
    """A change: `before` is None when the object is new; deletions carry the last state."""

    type: str
    stored: Stored
    before: Stored | None
    _line: bytes = b""

    def line(self) -> bytes:
        """The change as one line of a JSON watch, made once for all watchers."""
        self._line = self._line or watch_line(self.type, self.stored.raw)
        return self._line


def watch_line(type_: str, raw: bytes) -> bytes:
    """One line of a JSON watch."""
    return b'{"type":"%s","object":%s}\n' % (type_.encode(), raw)


@dataclass(slots=True, eq=False)
class Watcher:
    """A subscriber's queue of changes to one collection."""

    namespace: str
    events: deque[Event] = field(default_factory=deque)
    closed: bool = False
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def push(self, event: Event) -> None:
        """Hand over a change."""
        if not self.namespace or self.namespace == event.stored.namespace:
            self.events.append(event)
            if len(self.events) > _MAX_WAITING:
                self.close()
            self._wake.set()

    def close(self) -> None:
        """End the subscription from the collection's side."""
        self.closed = True
        self._wake.set()

    async def wait(self, seconds: float) -> None:
        """Return when there is something, or after so many seconds."""
        if not self.events and not self.closed:
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake.wait()


@dataclass(slots=True, eq=False)
class Collection:
    """All objects of one resource type; changes up to the revision `compacted` can no longer be told."""

    name: str
    compacted: int
    objects: dict[str, dict[str, Stored]] = field(default_factory=dict)
    history: deque[Event] = field(default_factory=deque)
    watchers: set[Watcher] = field(default_factory=set)

    @property
    def latest(self) -> int:
        """The revision of the last change."""
        return self.history[-1].stored.revision if self.history else self.compacted

    def get(self, namespace: str, name: str) -> Stored | None:
        """One object, or None."""
        return self.objects.get(namespace, {}).get(name)

    def items(self, namespace: str = "") -> Iterator[Stored]:
        """The objects of a namespace, or all, in the order of their keys."""
        namespaces = [namespace] if namespace else sorted(self.objects)
        for space in namespaces:
            names = self.objects.get(space, {})
            for name in sorted(names):
                yield names[name]

    def snapshot(self, revision: int) -> list[Stored] | None:
        """All objects as they were at a revision; None when that is too long ago."""
        if revision < self.compacted:
            return None
        found: dict[Key, Stored | None] = {(one.namespace, one.name): one for one in self.items()}
        for event in reversed(self.since(revision) or []):
            found[event.stored.namespace, event.stored.name] = event.before
        return [item for _, item in sorted(found.items()) if item is not None]

    def since(self, revision: int) -> list[Event] | None:
        """The changes after a revision; None when that is too long ago."""
        if revision < self.compacted:
            return None
        after = itertools.takewhile(
            lambda event: event.stored.revision > revision, reversed(self.history)
        )
        return [*after][::-1]

    def record(self, event: Event) -> None:
        """Remember a change and tell the watchers."""
        self.history.append(event)
        if len(self.history) > HISTORY:
            self.compacted = self.history.popleft().stored.revision
        for watcher in self.watchers:
            watcher.push(event)


class Store:
    """Collections by name (`deployments.apps`) and the revision they share."""

    def __init__(self) -> None:
        self.revision = 1
        self._collections: dict[str, Collection] = {}
        self._dropped: dict[str, int] = {}

    def collection(self, name: str) -> Collection:
        """The collection of that name, made when first asked for."""
        found = self._collections.get(name)
        if found is None:
            # Nothing happened to a collection before it was first asked for, unless it was dropped.
            found = self._collections[name] = Collection(name, self._dropped.get(name, 1))
        return found

    def put(self, collection: str, obj: Object) -> Stored:
        """Create or replace an object; sets its resourceVersion."""
        target = self.collection(collection)
        self.revision += 1
        stored = Stored(obj, self.revision)
        names = target.objects.setdefault(stored.namespace, {})
        before = names.get(stored.name)
        names[stored.name] = stored
        target.record(Event(MODIFIED if before else ADDED, stored, before))
        return stored

    def remove(self, collection: str, namespace: str, name: str) -> Stored | None:
        """Delete an object; returns its last state, or None where there is none."""
        target = self.collection(collection)
        before = target.objects.get(namespace, {}).pop(name, None)
        if before is None:
            return None
        if not target.objects[namespace]:
            del target.objects[namespace]
        self.revision += 1
        last = Stored(before.load(), self.revision)
        target.record(Event(DELETED, last, before))
        return last

    def drop(self, collection: str) -> None:
        """Forget a collection that is no longer served, ending its watches."""
        self._dropped[collection] = self.revision
        found = self._collections.pop(collection, None)
        for watcher in found.watchers if found else ():
            watcher.close()

    def end_watches(self) -> None:
        """End the watches of all collections."""
        for collection in self._collections.values():
            for watcher in collection.watchers:
                watcher.close()
