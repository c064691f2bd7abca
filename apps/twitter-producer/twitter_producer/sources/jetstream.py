"""Bluesky's Jetstream: every public commit as JSON over a WebSocket, filtered here.

Contract: https://github.com/bluesky-social/jetstream (README and pkg/models). It delivers at least
once from a cursor on, in microseconds; its memory reaches back about a day and a half.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from twitter_producer import json_text
from twitter_producer.deadline_adapter import trusted_authorities
from twitter_producer.delivered_ids import DeliveredIds
from twitter_producer.errors import (
    BadRequest,
    RateLimited,
    SourceError,
    Unavailable,
    of_status,
)
from twitter_producer.http_answers import printable, retry_after
from twitter_producer.posts import Post
from twitter_producer.settings import Settings
from twitter_producer.snapshot import Snapshot
from twitter_producer.sources import Context, Source
from twitter_producer.text_filter import TextFilter

log = logging.getLogger(__name__)

#: Posts that wait for the delivery: the server has to wait beyond it.
_QUEUE = 256
_CHUNK = 100
_GATHER_SECONDS = 1.0
#: A record of a post is a few kB; the server leaves out what is longer.
_LONGEST_MESSAGE = 128 << 10
#: Without a post that matches, the cursor moves after so many messages.
_MARK_EVERY = 500
_MOST_HANDLES = 10_000
#: A checkpoint is some 200 kB, so it is not written with each batch.
_CHECKPOINT_SECONDS = 5.0
#: Cursors are in order on one server, and servers' clocks some seconds apart: so far back it is read
#: again. Thousands of messages a second are too many for more.
_MOST_OVERLAP_SECONDS = 5.0
_SECOND = 1_000_000
_DEFAULT_COLLECTION = "app.bsky.feed.post"


@dataclass(frozen=True)
class JetstreamBatch:
    """Posts up to the cursor `newest`."""

    posts: list[Post]
    cursors: list[int]
    newest: int
    ended: bool


class JetstreamSource(Source):
    """Holds the WebSocket open and hands on what matches."""

    network, title = "bluesky", "Jetstream"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._cursor = 0
        self._delivered = DeliveredIds()
        self._reader: _Reader | None = None
        self._batch: JetstreamBatch | None = None
        self._snapshot = Snapshot(
            lambda: {"cursor": self._cursor, "delivered": self._delivered.dump()},
            _CHECKPOINT_SECONDS,
        )

    def restore(self, stored: dict[str, Any]) -> None:
        """Resume from the cursor."""
        self._cursor = int(stored["cursor"])
        self._delivered.load(stored["delivered"])
        log.info("resumes from the checkpoint", extra={"cursor": self._cursor})

    def begin(self) -> None:
        """Start with the look-back."""
        self._cursor = int((time.time() - self.settings.lookback_seconds) * _SECOND)

    def dump(self) -> dict[str, Any]:
        """Return cursor and delivered ids, as they were some seconds ago at most."""
        return self._snapshot.get()

    def release(self) -> None:
        """Make the next dump the present state."""
        self._snapshot.forget()

    def describe(self) -> dict[str, Any]:
        """Return the collections and the cursor."""
        return {
            "query": ", ".join(self.settings.topics) or None,
            "checkpoint": [{"after": self.complete_until.isoformat()}],
        }

    def read(self) -> JetstreamBatch:
        """Return what arrives within a second."""
        self.heartbeat.beat(self.settings.source_timeout_seconds * 2)
        reader = self._connected()
        entries: list[tuple[int, Post | None]] = []
        until = time.monotonic() + _GATHER_SECONDS
        while len(entries) < _CHUNK and (left := until - time.monotonic()) > 0:
            try:
                entries.append(reader.arrived.get(timeout=left))
            except queue.Empty:
                break
            if self.shutdown:
                break
        if not entries and reader.ended.is_set():
            problem = reader.problem
            self.close()
            raise problem
        found = [(cursor, post) for cursor, post in entries if post is not None]
        fresh = [(cursor, post) for cursor, post in found if self._is_due(post)]
        self.metrics.posts.inc(len(found))
        self.metrics.duplicates.inc(len(found) - len(fresh))
        newest = max((cursor for cursor, _ in entries), default=self._cursor)
        self._batch = JetstreamBatch(
            [post for _, post in fresh],
            [cursor for cursor, _ in fresh],
            max(newest, self._cursor),
            ended=reader.arrived.empty(),
        )
        return self._batch

    def commit(self, done: Sequence[bool]) -> bool:
        """Move the cursor; to before the first post that is not delivered, if there is one."""
        assert self._batch is not None
        batch = self._batch
        for post, delivered in zip(batch.posts, done, strict=True):
            if delivered:
                self._remember(post)
        if all(done):
            self._cursor = batch.newest
        else:
            self._cursor = batch.cursors[list(done).index(False)] - 1
            self.close()
        return False

    def pause(self) -> float:
        """Return 0: `read` itself waits."""
        return 0.0

    @property
    def complete_until(self) -> datetime:
        """The time of the cursor."""
        return datetime.fromtimestamp(self._cursor / _SECOND, UTC)

    def abort(self) -> None:
        """Close the WebSocket."""
        self.close()

    def close(self) -> None:
        """Close the WebSocket; what was read and not committed is read again."""
        if self._reader is not None:
            self._reader.hang_up()
            self._reader = None

    def _connected(self) -> _Reader:
        if self._reader is None:
            overlap = int(min(self.settings.overlap_seconds, _MOST_OVERLAP_SECONDS) * _SECOND)
            start = max(0, self._cursor - overlap)
            self._reader = _Reader(self.settings, start, self._delivered)
            self._reader.start()
            self.metrics.polls.inc()
        return self._reader

    def _is_due(self, post: Post) -> bool:
        """Return whether this has not been delivered before."""
        return _key(post) not in self._delivered

    def _remember(self, post: Post) -> None:
        self._delivered.add(_key(post))
        if not post.deleted:
            self._delivered.add(post.data["author"]["id"])


class _Reader(threading.Thread):
    """One connection, read by a thread of its own; when it ends, the loop decides what follows."""

    def __init__(self, settings: Settings, cursor: int, delivered: DeliveredIds) -> None:
        super().__init__(name="jetstream", daemon=True)
        self._settings, self._cursor, self._delivered = settings, cursor, delivered
        self._handed_over = DeliveredIds()
        self._filter = TextFilter(settings.topics, settings.languages, settings.excludes)
        self._handles: dict[str, str] = {}
        self._socket: ClientConnection | None = None
        self.arrived: queue.Queue[tuple[int, Post | None]] = queue.Queue(_QUEUE)
        self.ended = threading.Event()
        self.problem: SourceError = Unavailable("Jetstream closed the connection")

    def hang_up(self) -> None:
        """End the connection, from another thread."""
        self.ended.set()
        if self._socket is not None:
            threading.Thread(target=self._socket.close, daemon=True).start()

    def run(self) -> None:
        """Read until either side ends it."""
        try:
            socket = self._socket = self._open()
            with socket:
                log.info("Jetstream is connected", extra={"cursor": self._cursor})
                self._read(socket)
        except InvalidStatus as error:
            self.problem = _refused(error)
        except (WebSocketException, OSError, EOFError) as error:
            self.problem = Unavailable(f"{type(error).__name__}: {error}")
        except Exception as error:
            log.exception("a message could not be processed: this is a bug")
            self.problem = Unavailable(f"a message could not be processed: {error!r}")
        finally:
            self.ended.set()

    def _open(self) -> ClientConnection:
        settings = self._settings
        wanted = [("wantedCollections", name) for name in settings.collections]
        wanted += [("wantedDids", did) for did in settings.authors]
        query = urlencode(
            [*wanted, ("cursor", self._cursor), ("maxMessageSizeBytes", _LONGEST_MESSAGE)]
        )
        url = f"{settings.jetstream_url}?{query}"
        return connect(
            url,
            ssl=trusted_authorities() if url.startswith("wss:") else None,
            open_timeout=settings.source_timeout_seconds,
            close_timeout=1,
            ping_interval=20,
            ping_timeout=settings.source_timeout_seconds,
            max_size=_LONGEST_MESSAGE + 1024,
            max_queue=64,
            compression=None,
        )

    def _read(self, socket: ClientConnection) -> None:
        unmarked = 0
        marked_at = time.monotonic()
        for text in socket:
            if self.ended.is_set():
                return
            cursor, post = self._post(text)
            unmarked += 1
            if post is not None or (
                cursor and (unmarked >= _MARK_EVERY or time.monotonic() - marked_at > 1)
            ):
                self._hand_over(cursor, post)
                unmarked, marked_at = 0, time.monotonic()

    def _hand_over(self, cursor: int, post: Post | None) -> None:
        if post is not None and not post.deleted:
            self._handed_over.add(str(post.id))
            self._handed_over.add(post.data["author"]["id"])
        while not self.ended.is_set():
            try:
                self.arrived.put((cursor, post), timeout=1)
                return
            except queue.Full:
                continue

    def _post(self, text: str | bytes) -> tuple[int, Post | None]:
        """Return a message's cursor, and the post in it if it is wanted."""
        try:
            message = json_text.decode(text)
            cursor, did, kind = int(message["time_us"]), str(message["did"]), message["kind"]
            if kind == "commit":
                return cursor, self._commit(did, cursor, message["commit"])
            if kind == "identity":
                self._note_handle(did, message["identity"].get("handle"))
            elif kind == "account" and message["account"].get("status") == "deleted":
                return cursor, self._deletion(did, did, cursor)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.error(
                "Jetstream sent a message that is not as documented",
                extra={"error": repr(error), "entry": printable(str(text))},
            )
            return 0, None
        return cursor, None

    def _commit(self, did: str, cursor: int, commit: dict[str, Any]) -> Post | None:
        collection, key, operation = commit["collection"], commit["rkey"], commit["operation"]
        uri = f"at://{did}/{collection}/{key}"
        if operation == "delete":
            return self._deletion(uri, did, cursor)
        record = commit["record"]
        if (record.get("reply") and "replies" in self._filter.excludes) or (
            _is_quote(record) and "quotes" in self._filter.excludes
        ):
            return None
        text, languages = record.get("text"), record.get("langs") or []
        text = text if isinstance(text, str) else ""
        if not isinstance(languages, list) or not self._filter.matches(text, languages):
            return None
        version = f"#{commit['rev']}" if operation == "update" else ""
        profile = f"https://bsky.app/profile/{did}"
        data = {
            "id": uri,
            "network": JetstreamSource.network,
            "text": text,
            "created_at": record.get("createdAt"),
            "lang": languages[0] if languages else None,
            "url": f"{profile}/post/{key}" if collection == _DEFAULT_COLLECTION else None,
            "author": {"id": did, "name": None, "handle": self._handles.get(did), "url": profile},
            "bluesky": {"did": did, "time_us": cursor, "commit": commit},
        }
        return Post(uri + version, data, time=_time(cursor))

    def _deletion(self, post_id: str, did: str, cursor: int) -> Post | None:
        """Return the deletion of a post that was handed over, or of an author of such posts."""
        if post_id not in self._delivered and post_id not in self._handed_over:
            return None
        data = {"id": post_id, "network": JetstreamSource.network, "author": {"id": did}}
        return Post(post_id, data, time=_time(cursor), deleted=True)

    def _note_handle(self, did: str, handle: object) -> None:
        if isinstance(handle, str) and len(handle) <= 253:
            self._handles.pop(did, None)
            self._handles[did] = handle
            if len(self._handles) > _MOST_HANDLES:
                del self._handles[next(iter(self._handles))]


def _is_quote(record: dict[str, Any]) -> bool:
    """Return whether a post shows another one, alone or with media."""
    embed = record.get("embed")
    kind = embed.get("$type") if isinstance(embed, dict) else None
    return isinstance(kind, str) and kind.startswith("app.bsky.embed.record")


def _key(post: Post) -> str:
    return f"{post.id}.deleted" if post.deleted else str(post.id)


def _time(cursor: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=cursor)


def _refused(error: InvalidStatus) -> SourceError:
    response = error.response
    status, body = response.status_code, printable((response.body or b"").decode(errors="replace"))
    message = f"{status}: {body}"
    if status == 429:
        wait = retry_after(response.headers.get("Retry-After"))
        return RateLimited(message, None if wait is None else time.time() + wait)
    return of_status(status, message, {404: BadRequest})
