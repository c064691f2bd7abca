"""Removal of events for good: by an event that reports a deletion, or by an operator.

A deletion is an event whose type ends with `.deleted`; its `subject` is the id of the event that is
to go, with the same source, or of an author, whose events all go, where its data says
`{"author": {"id": subject}}` and nothing else of that id is kept. What is removed is not taken
again, nor what comes after its deletion: a tombstone stays, which is a keyed hash of source and id.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from event_viewer.cloudevents import Event
from event_viewer.store.interface import Rejection

SUFFIX = ".deleted"
#: A deletion itself is kept so long, for pages and streams to learn of it.
NOTICE_SECONDS = 600
#: Tombstones that are kept; the oldest go first.
MOST_TOMBSTONES = 100_000
#: Removals in the report.
MOST_REMOVALS = 1000
#: Type of the deletions that operators ask for.
BY_OPERATOR = f"com.streamops.event{SUFFIX}"


@dataclass(frozen=True)
class Removal:
    """What is to go: the events of this source with the id, or else of this author."""

    source: str
    id: str
    author: bool
    by: str
    reason: str

    def names(self, event_id: str) -> bool:
        """Return whether an event's id is the one, or that of a later version of it."""
        return event_id == self.id or event_id.startswith(self.id + "#")


class _Author(msgspec.Struct):
    id: str | int | None = None
    handle: str | None = None


class _Data(msgspec.Struct):
    author: _Author | None = None
    author_id: str | None = None
    reason: str = ""


class _WithData(msgspec.Struct):
    data: _Data


def removal_of(event: Event) -> Removal | None:
    """Return what a deletion removes; None for any other event."""
    if not event.type.endswith(SUFFIX) or not event.subject:
        return None
    data = _data(event.json)
    author = data.author is not None and str(data.author.id) == event.subject
    by = "operator" if event.type == BY_OPERATOR else "source"
    return Removal(event.source, event.subject, author, by, data.reason[:200])


def quotes(refused: Rejection, event_id: str) -> bool:
    """Return whether a refused request names an event: in its header, or as a JSON string in its body."""
    quoted = msgspec.json.encode(event_id).decode()
    return refused.headers.get("ce-id") == event_id or quoted in refused.body


def is_by(author: str, event: bytes) -> bool:
    """Return whether an event's JSON is of an author: its id, or its name with the network."""
    data = _data(event)
    found = data.author or _Author()
    return author in (data.author_id, found.handle, None if found.id is None else str(found.id))


def tombstone(salt: bytes, source: str, event_id: str) -> bytes:
    """Return the hash by which a removed event is known."""
    text = f"{source}\0{event_id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16, key=salt).digest()


def forbidding(salt: bytes, source: str, event_id: str) -> tuple[bytes, bytes]:
    """Return the tombstones that forbid an event: its own, and that of its first version."""
    first, _sign, _version = event_id.partition("#")
    return tombstone(salt, source, event_id), tombstone(salt, source, first)


def _data(event: bytes) -> _Data:
    try:
        return msgspec.json.decode(event, type=_WithData, strict=False).data
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Data()
