"""What every store offers, and the records that come out of it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

from event_viewer.cloudevents import Event

MAX_PAGE = 1000
#: Bytes of events in one answer: large events come in smaller pages, or a page would take more
#: memory than the viewer has.
MAX_BYTES = 4 << 20


class StoreError(Exception):
    """The store cannot do it now (disk full, Redis away); trying again later may help."""


class StoreBusy(StoreError):
    """Somebody else writes; trying again in some milliseconds helps."""


class Record(NamedTuple):
    """A kept event: its place in the order, when it came (ms since 1970), structured JSON."""

    seq: int
    received: int
    event: bytes

    def to_json(self) -> bytes:
        """One line: `{"seq", "received", "event"}`."""
        return b'{"seq":%d,"received":"%s","event":%s}' % (
            self.seq,
            rfc3339(self.received).encode(),
            self.event,
        )


class Rejection(msgspec.Struct, frozen=True):
    """A refused request, as `GET /api/rejected` shows it."""

    received: str
    status: int
    reason: str
    client: str
    headers: dict[str, str]
    size: int
    body: str


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

    Fewer than the query's limit do not mean the end: MAX_BYTES ends a page as well.
    """

    records: list[Record]
    next: int | None


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
        """Keep events (False: known already, by source and id) and rejections, or nothing."""

    def after(self, seq: int, limit: int, size: int = MAX_BYTES) -> list[Record]:
        """The oldest records after `seq`, in order: at most `limit`, ended by `size` bytes."""

    def last(self) -> int:
        """The newest record's seq; 0 before the first."""

    def page(self, query: Query) -> Page:
        """A page of the history, newest first."""

    def total(self) -> int:
        """How many events are kept."""

    def rejected(self, limit: int) -> list[Rejection]:
        """Refused requests, newest first."""

    def rejected_total(self) -> int:
        """How many refused requests are kept."""

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


def text_matches(event: bytes | str, needle: str) -> bool:
    """Whether an event holds a text, however its JSON spells it; case does not matter."""
    text = event if isinstance(event, str) else event.decode()
    if "\\" in text:
        text = _ESCAPE.sub(_unescape, text)
    return needle in text.casefold()


_ESCAPE = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|\\.")


def _unescape(match: re.Match[str]) -> str:
    return str(msgspec.json.decode(f'"{match[0]}"'))


def take(records: Iterable[Record], limit: int, size: int = MAX_BYTES) -> tuple[list[Record], bool]:
    """The first records, at most `limit` and `size` bytes of events (one in any case).

    Also whether there are more.
    """
    taken: list[Record] = []
    for record in records:
        size -= len(record.event)
        if len(taken) == limit or (taken and size < 0):
            return taken, True
        taken.append(record)
    return taken, False


def search(records: Iterable[Record], query: Query) -> Iterator[Record]:
    """The records that fit the query's filters, in the order given; for stores without SQL."""
    needle = query.text.casefold()
    for record in records:
        if record.received < query.since:
            continue
        if query.type or query.source or query.subject or query.id:
            event = msgspec.json.decode(record.event, type=_Attributes)
            if any(
                wanted and wanted != got
                for wanted, got in (
                    (query.type, event.type),
                    (query.source, event.source),
                    (query.subject, event.subject),
                    (query.id, event.id),
                )
            ):
                continue
        if needle and not text_matches(record.event, needle):
            continue
        yield record


class _Attributes(msgspec.Struct):
    source: str
    id: str
    type: str
    subject: str | None = None
