"""The history in a SQLite file, which the worker processes share."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import math
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import msgspec

from event_viewer.cloudevents import Event
from event_viewer.settings import Settings
from event_viewer.store import removal
from event_viewer.store.interface import (
    MAX_BYTES,
    Minute,
    Page,
    Query,
    Record,
    Rejection,
    Removed,
    StoreBusy,
    StoreError,
    rfc3339,
    searchable,
    take,
)
from event_viewer.store.removal import NOTICE_SECONDS, Removal

log = logging.getLogger(__name__)

VERSION = 1
# The newest event's row is never deleted, so no seq is given twice; and without AUTOINCREMENT a
# duplicate takes no seq, so the last N are those from max(seq) - N + 1 on.
SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
  seq INTEGER PRIMARY KEY,
  received INTEGER NOT NULL,
  source TEXT NOT NULL,
  id TEXT NOT NULL,
  type TEXT NOT NULL,
  subject TEXT NOT NULL,
  event BLOB NOT NULL,
  UNIQUE (source, id)
);
CREATE TABLE IF NOT EXISTS rejected (seq INTEGER PRIMARY KEY, detail BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS tombstones (seq INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS removals (
  seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, detail BLOB NOT NULL, notice INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS minutes (
  minute INTEGER PRIMARY KEY, accepted INTEGER NOT NULL, duplicates INTEGER NOT NULL,
  rejected INTEGER NOT NULL
);
"""
SEARCH_SCHEMA = """
CREATE VIRTUAL TABLE IF NOT EXISTS search USING fts5 (
  text, content = '', tokenize = 'trigram case_sensitive 1', detail = 'none', columnsize = 0
)
"""
INSERT = """
INSERT OR IGNORE INTO events (received, source, id, type, subject, event) VALUES (?, ?, ?, ?, ?, ?)
"""
COUNT = """
INSERT INTO minutes VALUES (?, ?, ?, ?) ON CONFLICT (minute) DO UPDATE SET
  accepted = accepted + excluded.accepted, duplicates = duplicates + excluded.duplicates,
  rejected = rejected + excluded.rejected
"""
MINUTES_KEPT = 24 * 60
#: Numbers of events looked through before the deadline is looked at again.
WINDOW = 2000
#: Page cache of each connection.
CACHE_KIB = 512
#: Time spent on the search index each time, and what one of its transactions may hold: while it
#: runs no event is stored.
INDEX_SECONDS = 0.3
INDEX_ROWS = 30
INDEX_TEXT = 32 << 10
#: Trigrams of a text that narrow a search down.
MAX_TRIGRAMS = 16
#: Written to see whether there is room, about as much as some events take.
PROBE_BYTES = 1 << 16
#: A lock is waited for outside of SQLite, so that the event loop is not held up by it.
LOCK_WAIT_MS = 20
#: A checkpoint of this many pages (4 KiB) is forced when those in the background cannot keep up.
CHECKPOINT_PAGES = 16_000


class SqliteStore:
    """See Store. One connection writes; each thread that reads has its own."""

    slow = False

    def __init__(self, settings: Settings) -> None:
        self.path = Path(settings.store)
        self.shared = settings.workers > 1
        self.keep = settings.keep_events
        self.keep_ms = settings.keep_seconds * 1000
        self.keep_bytes = settings.keep_bytes
        self.keep_rejected = settings.keep_rejected
        # Deleting in portions is cheaper; what is to go is hidden from readers at once.
        self.slack = max(50, self.keep // 100)
        self._last_seen = 0
        #: Something was removed, and may still stand in the write-ahead log.
        self._scrub = False
        self._any_removed = False
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._open()

    # Opening

    def _open(self) -> None:
        """Open or create the file; one that is damaged is moved aside first."""
        try:
            with _lock(self.path.with_name(self.path.name + ".lock")):
                try:
                    self._writer = self._connect_checked()
                except sqlite3.DatabaseError as error:
                    if isinstance(error, sqlite3.OperationalError) and not _corrupt(error):
                        raise
                    self._move_aside(error)
                    self._writer = self._connect_checked()
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"cannot open the store {self.path}: {error}") from error
        #: The next write has to open the file again.
        self._damaged = False

    def _connect_checked(self) -> sqlite3.Connection:
        connection = self._connect()
        try:
            result = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if result != "ok":
                raise sqlite3.DatabaseError(f"malformed: {' '.join(result.split())}")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, VERSION):
                raise StoreError(
                    f"{self.path} was written by another version of the viewer ({version}); "
                    "name another file in STORE"
                )
            connection.executescript(SCHEMA)
            self.search_index = _create_search(connection)
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute(
                "INSERT OR IGNORE INTO meta VALUES ('epoch', ?)", (secrets.token_hex(4),)
            )
            self.epoch = connection.execute(
                "SELECT value FROM meta WHERE key = 'epoch'"
            ).fetchone()[0]
            connection.execute(
                "INSERT OR IGNORE INTO meta VALUES ('salt', ?)", (secrets.token_hex(32),)
            )
            salt = connection.execute("SELECT value FROM meta WHERE key = 'salt'").fetchone()[0]
            self._salt = bytes.fromhex(salt)
            self._inode = self.path.stat().st_ino
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=LOCK_WAIT_MS / 1000,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA journal_mode = WAL")
        # A crash of the process loses nothing; one of the machine may lose the last seconds.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA cache_size = {-CACHE_KIB}")
        connection.execute("PRAGMA secure_delete = ON")
        return connection

    def _move_aside(self, error: sqlite3.Error) -> None:
        aside = self.path.with_name(f"{self.path.name}.corrupt-{time.strftime('%Y%m%dT%H%M%S')}")
        log.error(
            "the store %s is damaged (%s): moved to %s, starting afresh", self.path, error, aside
        )
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{self.path}{suffix}", f"{aside}{suffix}")

    def _reopen(self) -> None:
        """Start afresh after the file turned out to be damaged."""
        self.close()
        self._open()

    def _is_replaced(self) -> bool:
        """Whether another worker found the file damaged and moved it aside."""
        try:
            return os.stat(self.path).st_ino != self._inode
        except FileNotFoundError:
            return True

    # Writing

    def append(self, events: list[Event], rejections: list[Rejection]) -> list[bool]:
        """See Store."""
        if self._damaged or self._is_replaced():
            self._reopen()
        try:
            return self._append(events, rejections)
        except sqlite3.DatabaseError as error:
            self._roll_back()
            if _corrupt(error):
                log.error("the store %s is damaged (%s)", self.path, error)
                self._reopen()
                return self._append(events, rejections)
            raise _translated(error) from error

    def _append(self, events: list[Event], rejections: list[Rejection]) -> list[bool]:
        now = time.time_ns() // 1_000_000
        writer = self._writer
        execute = writer.execute
        execute("BEGIN IMMEDIATE")
        self._any_removed = bool(execute("SELECT EXISTS (SELECT 1 FROM tombstones)").fetchone()[0])
        new = [self._insert(event, now) for event in events]
        if rejections and self.keep_rejected:
            self._keep_rejections(rejections)
        accepted = sum(new)
        execute(COUNT, (now // 60_000, accepted, len(new) - accepted, len(rejections)))
        if accepted:
            self._trim()
        execute("COMMIT")
        return new

    def _insert(self, event: Event, now: int) -> bool:
        execute = self._writer.execute
        if self._any_removed:
            forbidding = removal.forbidding(self._salt, event.source, event.id)
            if execute("SELECT 1 FROM tombstones WHERE hash IN (?, ?)", forbidding).fetchone():
                return False
        row = (now, event.source, event.id, event.type, event.subject, event.json)
        inserted = execute(INSERT, row)
        if inserted.rowcount != 1:
            return False
        if event.type.endswith(removal.SUFFIX) and (found := removal.removal_of(event)):
            self._remove(found, now, inserted.lastrowid or 0)
        return True

    def _remove(self, wanted: Removal, now: int, notice: int) -> None:
        """Remove what a deletion names; `notice` is the seq of the deletion itself."""
        execute = self._writer.execute
        rows = execute(
            "SELECT seq, id, event FROM events WHERE source = ? AND id >= ? AND id < ?",
            (wanted.source, wanted.id, wanted.id + "$"),  # "$" follows "#"
        ).fetchall()
        rows = [row for row in rows if wanted.names(row[1])]
        if not rows and wanted.author:
            found = execute(
                "SELECT seq, id, event FROM events WHERE source = ? AND seq <> ?",
                (wanted.source, notice),
            )
            rows = [row for row in found if removal.is_by(wanted.id, row[2])]
        gone = {row[1] for row in rows}
        if not wanted.author:
            gone.add(wanted.id)  # a deletion may come before its event
        for event_id in gone:
            tombstone = removal.tombstone(self._salt, wanted.source, event_id)
            execute("INSERT OR IGNORE INTO tombstones (hash) VALUES (?)", (tombstone,))
        execute(
            "DELETE FROM tombstones WHERE seq <= (SELECT max(seq) FROM tombstones) - ?",
            (removal.MOST_TOMBSTONES,),
        )
        start, end = self._indexed(self._writer) if self.search_index else (1, 0)
        for seq, _id, event in rows:
            if start <= seq <= end:
                text = searchable(event).replace("\0", " ")
                execute(
                    "INSERT INTO search (search, rowid, text) VALUES ('delete', ?, ?)", (seq, text)
                )
            execute("DELETE FROM events WHERE seq = ?", (seq,))
        # A refused request may hold the same post.
        refused = execute(
            "SELECT seq, detail FROM rejected WHERE instr(detail, ?)", (wanted.id.encode(),)
        ).fetchall()
        for seq, detail in refused:
            if removal.quotes(msgspec.json.decode(detail, type=Rejection), wanted.id):
                execute("DELETE FROM rejected WHERE seq = ?", (seq,))
        done = Removed(rfc3339(now), len(rows), wanted.by, wanted.reason)
        execute(
            "INSERT INTO removals (at, detail, notice) VALUES (?, ?, ?)",
            (now, msgspec.json.encode(done), notice),
        )
        execute(
            "DELETE FROM removals WHERE seq <= (SELECT max(seq) FROM removals) - ?",
            (removal.MOST_REMOVALS,),
        )
        self._any_removed = self._scrub = True

    def removals(self, limit: int) -> list[Removed]:
        """See Store."""
        rows = self._read("SELECT detail FROM removals ORDER BY seq DESC LIMIT ?", (limit,))
        return [msgspec.json.decode(row[0], type=Removed) for row in rows]

    def _keep_rejections(self, rejections: list[Rejection]) -> None:
        self._writer.executemany(
            "INSERT INTO rejected (detail) VALUES (?)",
            [(msgspec.json.encode(rejection),) for rejection in rejections],
        )
        self._writer.execute(
            "DELETE FROM rejected WHERE seq <= (SELECT max(seq) FROM rejected) - ?",
            (self.keep_rejected,),
        )

    def _trim(self) -> None:
        first, last = self._writer.execute(
            "SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events)"
        ).fetchone()
        if last - first + 1 > self.keep + self.slack:
            self._writer.execute("DELETE FROM events WHERE seq <= ?", (last - self.keep,))

    def probe(self) -> None:
        """See Store."""
        try:
            self._reader().execute(
                "INSERT OR REPLACE INTO meta VALUES ('probe', randomblob(?))", (PROBE_BYTES,)
            )
        except sqlite3.Error as error:
            raise _translated(error) from error

    def maintain(self) -> None:
        """See Store. Also moves what was written from the log to the database."""
        if self._is_replaced():
            return  # the next write opens the new file
        connection = self._reader()
        try:
            self._drop_notices(connection)
            mode = "TRUNCATE" if self._scrub else "PASSIVE"
            busy = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0]
            self._scrub = self._scrub and bool(busy)
            # Looked for first: a DELETE that finds nothing would still lock out the writer.
            for table, column, oldest in (
                ("events", "received", self._oldest()),
                ("minutes", "minute", time.time_ns() // 60_000_000_000 - MINUTES_KEPT),
            ):
                row = connection.execute(
                    f"SELECT {column} FROM {table} ORDER BY rowid LIMIT 1"  # noqa: S608 - names above
                ).fetchone()
                if row and row[0] < oldest:
                    connection.execute(
                        f"DELETE FROM {table} WHERE {column} < ?"  # noqa: S608 - as above
                        f" AND rowid < (SELECT max(rowid) FROM {table})",
                        (oldest,),
                    )
            while _used_bytes(connection) > self.keep_bytes and self._drop_a_tenth(connection):
                pass
            if self.search_index:
                self._update_search(connection)
        except sqlite3.Error as error:
            raise _translated(error) from error

    def _drop_notices(self, connection: sqlite3.Connection) -> None:
        """Drop deletions that pages and streams have had time to learn of: they name what is gone."""
        oldest = time.time_ns() // 1_000_000 - NOTICE_SECONDS * 1000
        rows = connection.execute(
            "SELECT seq, notice FROM removals WHERE notice > 0 AND at < ? LIMIT 1000", (oldest,)
        ).fetchall()
        for seq, notice in rows:
            dropped = connection.execute(
                "DELETE FROM events WHERE seq = ? AND seq < (SELECT max(seq) FROM events)",
                (notice,),
            ).rowcount
            newest = connection.execute("SELECT max(seq) FROM events").fetchone()[0]
            if dropped or newest != notice:
                connection.execute("UPDATE removals SET notice = 0 WHERE seq = ?", (seq,))
                self._scrub = True

    # Full-text search: an index of trigrams over `searchable`, behind the events by some seconds. It
    # only narrows a search down, and what it misses is read; so it is made when there is time. What
    # is dropped from the history stays in it until that is half of it; then it is made again.

    def _update_search(self, connection: sqlite3.Connection) -> None:
        """Bring the index up to date, for a bounded time."""
        first, last = connection.execute(
            "SELECT coalesce(min(seq), 1), coalesce(max(seq), 0) FROM events"
        ).fetchone()
        first = max(first, last - self.keep + 1)
        came, self._last_seen = last - self._last_seen, last
        if came > self.keep // 20:
            return  # it would cost more than a search through the few events there are
        deadline = time.monotonic() + INDEX_SECONDS
        while time.monotonic() < deadline and self._index_some(connection, first, last):
            pass

    def _index_some(self, connection: sqlite3.Connection, first: int, last: int) -> bool:
        """Index some of the events `first` to `last`; return False when none is left."""
        start, end = self._indexed(connection)
        stale = first - start > last - first + 1
        if stale or end < first:
            start, end = first, first - 1
        if end >= last:
            return False
        rows = connection.execute(
            "SELECT seq, event FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (end, INDEX_ROWS)
        )
        texts, size = [], 0
        with contextlib.closing(rows):
            for seq, event in rows:
                texts.append((seq, searchable(event).replace("\0", " ")))
                size += len(texts[-1][1])
                if size > INDEX_TEXT:
                    break
        before = self._indexed(connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            if self._indexed(connection) == before:  # else another worker was faster
                if start != before[0]:
                    connection.execute("DROP TABLE search")
                    connection.execute(SEARCH_SCHEMA)
                connection.executemany("INSERT INTO search (rowid, text) VALUES (?, ?)", texts)
                connection.execute(
                    "INSERT OR REPLACE INTO meta VALUES ('indexed', ?)",
                    (f"{start} {texts[-1][0] if texts else last}",),
                )
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        return True

    @staticmethod
    def _indexed(connection: sqlite3.Connection) -> tuple[int, int]:
        """Return the seqs from which and up to which events are in the index."""
        row = connection.execute("SELECT value FROM meta WHERE key = 'indexed'").fetchone()
        start, end = row[0].split() if row else (0, 0)
        return int(start), int(end)

    def _drop_a_tenth(self, connection: sqlite3.Connection) -> bool:
        """Delete the oldest events, but never the newest; False when there is only that one."""
        tenth = "(SELECT min(seq) + (max(seq) - min(seq)) / 10 FROM events)"
        newest = "(SELECT max(seq) FROM events)"
        statement = f"DELETE FROM events WHERE seq <= {tenth} AND seq < {newest}"  # noqa: S608 - written above
        return connection.execute(statement).rowcount > 0

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")

    # Reading

    def after(self, seq: int, limit: int, size: int = MAX_BYTES) -> list[Record]:
        """See Store."""
        statement = (
            "SELECT seq, received, event FROM events WHERE seq > ? AND received >= ?"
            " AND seq > (SELECT max(seq) FROM events) - ? ORDER BY seq"
        )
        with (
            self._reading() as connection,
            contextlib.closing(
                connection.execute(statement, (seq, self._oldest(), self.keep))
            ) as rows,
        ):
            return take(map(Record._make, rows), limit, size)

    def last(self) -> int:
        """See Store."""
        rows = self._read("SELECT coalesce(max(seq), 0) FROM events", ())
        return int(rows[0][0])

    def page(self, query: Query, size: int = MAX_BYTES, deadline: float = math.inf) -> Page:
        """See Store."""
        with self._reading() as connection:
            first, last = connection.execute(
                "SELECT coalesce(min(seq), 1), coalesce(max(seq), 0) FROM events"
            ).fetchone()
            first = max(first, last - self.keep + 1)
            cursor = last + 1 if query.cursor is None else min(query.cursor, last + 1)
            taken: list[Record] = []
            # A window at a time, so that the deadline holds whatever the query.
            while cursor > first:
                low = max(first, cursor - WINDOW)
                with contextlib.closing(self._window(connection, query, low, cursor)) as rows:
                    for record, fits in rows:
                        if fits:
                            size -= len(record.event)
                            if len(taken) == query.limit or (taken and size < 0):
                                return Page(taken, taken[-1].seq)
                            taken.append(record)
                        if time.monotonic() > deadline:
                            return Page(taken, record.seq, expired=True)
                cursor = low
                if time.monotonic() > deadline:
                    return Page(taken, cursor, expired=True)
            return Page(taken, None)

    def _window(
        self, connection: sqlite3.Connection, query: Query, low: int, high: int
    ) -> Generator[tuple[Record, bool], None, None]:
        """Yield the candidates in a range of seq, newest first, and whether they fit the query."""
        conditions = ["seq >= ? AND seq < ? AND received >= ?"]
        values: list[Any] = [low, high, max(self._oldest(), query.since)]
        for column in ("type", "source", "subject", "id"):
            wanted = getattr(query, column)
            if wanted:
                conditions.append(f"{column} = ?")
                values.append(wanted)
        needle = query.text.casefold()
        trigrams = _trigrams(needle)
        start, end = self._indexed(connection) if trigrams and self.search_index else (0, 0)
        if start <= low and high <= end + 1:
            conditions.append(
                "seq IN (SELECT rowid FROM search WHERE search MATCH ?"
                " AND rowid >= ? AND rowid < ?)"
            )
            values += [trigrams, low, high]
        rows = connection.execute(
            f"SELECT seq, received, event FROM events WHERE {' AND '.join(conditions)}"  # noqa: S608 - written above, values bound
            " ORDER BY seq DESC",
            values,
        )
        with contextlib.closing(rows):
            for record in map(Record._make, rows):
                yield record, not needle or needle in searchable(record.event)

    def part(self, seq: int, offset: int, size: int) -> bytes:
        """See Store."""
        rows = self._read(
            "SELECT substr(event, ?, ?) FROM events WHERE seq = ?", (offset + 1, size, seq)
        )
        return rows[0][0] if rows else b""

    def total(self) -> int:
        """See Store."""
        rows = self._read("SELECT count(*) FROM events WHERE received >= ?", (self._oldest(),))
        return min(int(rows[0][0]), self.keep)

    def rejected(self, limit: int, offset: int = 0) -> list[Rejection]:
        """See Store."""
        rows = self._read(
            "SELECT detail FROM rejected ORDER BY seq DESC LIMIT ? OFFSET ?", (limit, offset)
        )
        return [msgspec.json.decode(row[0], type=Rejection) for row in rows]

    def rejected_total(self) -> int:
        """See Store."""
        return int(self._read("SELECT count(*) FROM rejected", ())[0][0])

    def minutes(self, since: int) -> list[Minute]:
        """See Store."""
        rows = self._read("SELECT * FROM minutes WHERE minute >= ? ORDER BY minute", (since,))
        return [Minute(*row) for row in rows]

    def _oldest(self) -> int:
        return time.time_ns() // 1_000_000 - self.keep_ms if self.keep_ms else 0

    def _read(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        with self._reading() as connection:
            return connection.execute(statement, values).fetchall()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._reader()
        except sqlite3.Error as error:
            self._damaged = self._damaged or _corrupt(error)  # the next write starts afresh
            raise _translated(error) from error

    def _reader(self) -> sqlite3.Connection:
        """This thread's own connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None or connection not in self._connections:
            connection = self._connect()
            self._local.connection = connection
            self._connections.append(connection)
        return connection

    def close(self) -> None:
        """See Store."""
        for connection in [*self._connections, self._writer]:
            connection.close()
        self._connections.clear()


def _create_search(connection: sqlite3.Connection) -> bool:
    """Create the search index; return False where SQLite cannot, so that events are read."""
    try:
        connection.execute(SEARCH_SCHEMA)
    except sqlite3.OperationalError as error:
        if "no such" not in str(error):
            raise
        log.warning("no index for searches, which are slower: %s", error)
        return False
    return True


def _trigrams(needle: str) -> str:
    """Return the expression that finds every event whose text contains `needle`, and some more."""
    if len(needle) < 3 or "\0" in needle:
        return ""
    trigrams = dict.fromkeys(needle[at : at + 3] for at in range(len(needle) - 2))
    quoted = [trigram.replace('"', '""') for trigram in list(trigrams)[:MAX_TRIGRAMS]]
    return " AND ".join(f'"{trigram}"' for trigram in quoted)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """One process at a time opens, checks and repairs the file."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _used_bytes(connection: sqlite3.Connection) -> int:
    size, pages, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size * (pages - free))


def _corrupt(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", None) in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    ) or "malformed" in str(error)


def _translated(error: sqlite3.Error) -> StoreError:
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    ):
        return StoreBusy(str(error))
    return StoreError(str(error))
