"""Interface of the stores, and the records they hold."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

from event_viewer.cloudevents import Event

MAX_PAGE = 1000
#: Bytes of events in one answer: large events come in smaller pages, or a page would take more
#: memory than the viewer has.
MAX_BYTES = 4 << 20
#: Bytes at the start of an event's JSON in which a text is looked for.
SEARCHED_BYTES = 64 << 10


class StoreError(Exception):
    """Failure of the store (disk full, Redis unreachable); a retry later may succeed."""


class StoreBusy(StoreError):
    """Lock held by another writer; a retry in some milliseconds succeeds."""


class Record(NamedTuple):
    """Kept event: its place in the order, when it came (ms since 1970), its structured JSON."""

    seq: int
    received: int
    event: bytes

    def to_json(self) -> bytes:
        """Return one line: `{"seq", "received", "event"}`."""
        return b"%s%s}" % (self.json_head(), self.event)

    def json_head(self) -> bytes:
        """Return what stands before the event in that line; a brace follows it."""
        received = rfc3339(self.received).encode()
        return b'{"seq":%d,"received":"%s","event":' % (self.seq, received)


class Rejection(msgspec.Struct, frozen=True):
    """A refused request, as `GET /api/rejected` shows it."""

    received: str
    status: int
    reason: str
    client: str
    headers: dict[str, str]
    size: int
    body: str


class Removed(msgspec.Struct, frozen=True):
    """A removal, as `GET /api/removals` shows it: when, how many events, at whose request."""

    removed: str
    events: int
    by: str
    reason: str


@dataclass(frozen=True)
class Query:
    """Which events a page holds: the newest `limit` before `cursor` that fit every filter."""

    limit: int = 100
    cursor: int | None = None
    type: str = ""
    source: str = ""
    subject: str = ""
    id: str = ""
    text: str = ""
    since: int = 0


class Page(NamedTuple):
    """Records, newest first; `next` is the cursor of what follows, None at the end.

    Fewer than the query's limit do not mean the end: a size ends a page as well, and a deadline.
    """

    records: list[Record]
    next: int | None
    expired: bool = False


class Minute(NamedTuple):
    """What came in one minute, numbered since 1970."""

    minute: int
    accepted: int
    duplicates: int
    rejected: int


class Store(Protocol):
    """A bounded history. Methods may be called from any thread; all raise StoreError."""

    #: Others write to the same history, so it has to be looked at to learn of their events.
    shared: bool
    #: Writing waits for a network and belongs into a thread.
    slow: bool

    @property
    def epoch(self) -> str:
        """Another one when the history starts anew: positions in an old one mean nothing then."""

    def append(self, events: list[Event], rejections: list[Rejection]) -> list[bool]:
        """Keep events and rejections, or nothing.

        Returns:
            For each event whether it is new; False: known by source and id, or removed before.
            What a new one removes (see removal.py) is gone with the same write.
        """

    def after(self, seq: int, limit: int, size: int = MAX_BYTES) -> list[Record]:
        """The oldest records after `seq`, in order: at most `limit`, ended by `size` bytes."""

    def last(self) -> int:
        """The newest record's seq; 0 before the first."""

    def page(self, query: Query, size: int = MAX_BYTES, deadline: float = math.inf) -> Page:
        """Return a page of the history, newest first.

        Args:
            query: What to find.
            size: Bytes of events that end the page; it holds one in any case.
            deadline: When to end it with what was found so far, in seconds of time.monotonic.
        """

    def part(self, seq: int, offset: int, size: int) -> bytes:
        """Return a part of an event's JSON; nothing when the event is not kept any more."""

    def total(self) -> int:
        """How many events are kept."""

    def rejected(self, limit: int, offset: int = 0) -> list[Rejection]:
        """Return refused requests, newest first, without the first `offset`."""

    def rejected_total(self) -> int:
        """How many refused requests are kept."""

    def removals(self, limit: int) -> list[Removed]:
        """Return what was removed, newest first."""

    def minutes(self, since: int) -> list[Minute]:
        """Counts of the minutes from minute `since` on; empty minutes are left out."""

    def probe(self) -> None:
        """Write something small: raises StoreError when writing does not work."""

    def maintain(self) -> None:
        """Drop what is too old or too much; called every few seconds, from a thread."""

    def close(self) -> None:
        """Give back what is open."""


def rfc3339(milliseconds: int) -> str:
    """A time in ms since 1970 as RFC 3339 in UTC, with milliseconds."""
    moment = datetime.datetime.fromtimestamp(milliseconds // 1000, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def searchable(event: bytes) -> str:
    """Return the text of an event that is searched: the start of its JSON, without escapes or case.

    It is bounded, so that one event cannot make every search slow.
    """
    text = event[:SEARCHED_BYTES].decode(errors="ignore")
    if "\\" in text:
        text = _ESCAPE.sub(_unescape, text)
    return text.casefold()


_ESCAPE = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|\\.")


def _unescape(match: re.Match[str]) -> str:
    try:
        return str(msgspec.json.decode(f'"{match[0]}"'))
    except msgspec.DecodeError:  # half a surrogate pair, at the end of what is searched
        return ""


def take(records: Iterable[Record], limit: int, size: int) -> list[Record]:
    """Return the first records, at most `limit` and `size` bytes of events (one in any case)."""
    taken: list[Record] = []
    for record in records:
        size -= len(record.event)
        if len(taken) == limit or (taken and size < 0):
            break
        taken.append(record)
    return taken


class Filter:
    """Test of records for a query's filters, for where there is no SQL."""

    def __init__(self, query: Query) -> None:
        self.wanted = [
            (name, value)
            for name in ("type", "source", "subject", "id")
            if (value := getattr(query, name))
        ]
        self.needle = query.text.casefold()
        self.since = query.since

    def fits(self, record: Record) -> bool:
        """Return whether the record fits."""
        if record.received < self.since:
            return False
        if self.wanted:
            event = msgspec.json.decode(record.event, type=_Attributes)
            if any(getattr(event, name) != value for name, value in self.wanted):
                return False
        return not self.needle or self.needle in searchable(record.event)


class _Attributes(msgspec.Struct):
    source: str
    id: str
    type: str
    subject: str | None = None
