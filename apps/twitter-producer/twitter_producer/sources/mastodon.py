"""Hashtags of a Mastodon instance: its timelines, polled; with a token a stream says when.

Contract: https://docs.joinmastodon.org/methods/timelines/#tag and .../methods/streaming/. The stream
brings deletions and saves waiting; posts are read from the timelines in either case, since only
these can be resumed.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from mastodon import Mastodon, StreamListener
from mastodon.errors import MastodonAPIError, MastodonError, MastodonRatelimitError

from twitter_producer.connections import Connections
from twitter_producer.deadline_adapter import DeadlineAdapter, trusted_authorities
from twitter_producer.delivered_ids import DeliveredIds
from twitter_producer.errors import (
    BadRequest,
    RateLimited,
    Refused,
    SourceError,
    Unavailable,
    of_status,
)
from twitter_producer.html_text import text_of
from twitter_producer.http_answers import printable
from twitter_producer.posts import Post
from twitter_producer.sources import Context, Source
from twitter_producer.text_filter import TextFilter

log = logging.getLogger(__name__)

_PAGE = 40
_LONGEST_ANSWER = 16 << 20
#: Delivered posts that are asked for again, some with each poll: Mastodon lists no deletions.
_MOST_WATCHED = 2_000
_CHECKED_AT_ONCE = 20
_STREAM_SILENCE_SECONDS = 60
#: With a stream, a poll follows an update this soon.
_SHORTEST_PAUSE_SECONDS = 1.0

T = TypeVar("T")


@dataclass(frozen=True)
class MastodonBatch:
    """Posts of several hashtags, with the cursors they lead to."""

    posts: list[Post]
    cursors: dict[str, str]
    ended: bool


class MastodonSource(Source):
    """Polls the timelines of hashtags, each from its own cursor on."""

    network, title = "mastodon", "Mastodon"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        settings = self.settings
        self._tags = [topic.removeprefix("#") for topic in settings.topics]
        self._filter = TextFilter((), settings.languages, settings.excludes)
        own = f"@{urlsplit(settings.mastodon_url).netloc.lower()}"  # left out in its own names
        names = (author.removeprefix("@").lower() for author in settings.authors)
        self._authors = {name.removesuffix(own) for name in names}
        self._cursors: dict[str, str] = {}
        self._delivered = DeliveredIds()
        self._watched: deque[str] = deque(maxlen=_MOST_WATCHED)
        self._batch: MastodonBatch | None = None
        self._api: Mastodon | None = None
        self._token: str | None = None
        self._stream: _Stream | None = None
        trust = trusted_authorities() if settings.mastodon_url.startswith("https:") else None
        self._connections = Connections(
            settings.mastodon_url, settings.source_timeout_seconds, trust, longest=_LONGEST_ANSWER
        )

    def restore(self, stored: dict[str, Any]) -> None:
        """Resume each hashtag from its cursor; one that is new starts with the look-back."""
        self.begin()
        known = {str(tag): str(cursor) for tag, cursor in stored["cursors"].items()}
        self._cursors |= {tag: cursor for tag, cursor in known.items() if tag in self._tags}
        self._delivered.load(stored["delivered"])
        self._watched.extend(str(post_id) for post_id in stored["watched"])
        log.info("resumes from the checkpoint", extra={"cursors": self._cursors})

    def begin(self) -> None:
        """Start with the look-back: Mastodon's ids begin with the time in milliseconds."""
        start = int((time.time() - self.settings.lookback_seconds) * 1000) << 16
        self._cursors = dict.fromkeys(self._tags, str(start))

    def dump(self) -> dict[str, Any]:
        """Return cursors, delivered ids and those that are watched for deletion."""
        return {
            "cursors": dict(self._cursors),
            "delivered": self._delivered.dump(),
            "watched": list(self._watched),
        }

    def describe(self) -> dict[str, Any]:
        """Return the hashtags and their cursors."""
        return {
            "query": ", ".join(f"#{tag}" for tag in self._tags),
            "checkpoint": [{"hashtag": t, "after": c} for t, c in self._cursors.items()],
        }

    def read(self) -> MastodonBatch:
        """Return the next page of each hashtag, and the deletions."""
        self.heartbeat.beat(self.settings.source_timeout_seconds * (len(self._tags) + 2))
        api = self._connected()
        found: dict[str, Post] = {}
        cursors = dict(self._cursors)
        ended = True
        for tag in self._tags:
            self.metrics.polls.inc()
            page = self._call(partial(api.timeline_hashtag, tag, min_id=cursors[tag], limit=_PAGE))
            statuses = [status for status in page if isinstance(status, dict) and "id" in status]
            ended = ended and len(page) < _PAGE
            ids = [str(status["id"]) for status in statuses]
            cursors[tag] = max([cursors[tag], *ids], key=_order)
            self.metrics.posts.inc(len(statuses))
            found |= {post.data["id"]: post for post in map(self._post, statuses) if post}
        if api.ratelimit_remaining is not None:
            self.metrics.rate_limit_remaining.set(api.ratelimit_remaining)
        fresh = [found[key] for key in sorted(found, key=_order) if key not in self._delivered]
        self.metrics.duplicates.inc(len(found) - len(fresh))
        deleted = [] if fresh else [_deletion(post_id) for post_id in self._deleted(api)]
        self._batch = MastodonBatch(fresh + deleted, cursors, ended)
        return self._batch

    def commit(self, done: Sequence[bool]) -> bool:
        """Move the cursors once everything before them has been delivered."""
        assert self._batch is not None
        for post, delivered in zip(self._batch.posts, done, strict=True):
            key = str(post.id)
            if not delivered:
                continue
            if not post.deleted:
                self._delivered.add(key)
                self._watched.append(key)
            elif key in self._watched:
                self._watched.remove(key)
        if all(done):
            self._cursors = dict(self._batch.cursors)
        return not self._batch.ended and all(done)

    def pause(self) -> float:
        """Return the polling interval; with a stream the wait has been in here."""
        interval = self.settings.poll_interval_seconds
        if self._stream is None:
            return interval
        self.heartbeat.beat(interval)
        self._stream.wait(interval, self.shutdown)
        return min(_SHORTEST_PAUSE_SECONDS, interval)

    @property
    def complete_until(self) -> datetime:
        """The time in the oldest cursor."""
        oldest = min((_milliseconds(cursor) for cursor in self._cursors.values()), default=0)
        return datetime.fromtimestamp(oldest / 1000, UTC)

    def renew(self) -> bool:
        """Read the token again; a file that cannot be read holds no other token."""
        try:
            changed = self._read_token() != self._token
        except Refused:
            return False
        if changed:
            self.close()
        return changed

    def abort(self) -> None:
        """End the request under way."""
        self._connections.abort()

    def close(self) -> None:
        """Close the stream; the next read connects again."""
        if self._stream is not None:
            self._stream.close()
        self._stream, self._api = None, None

    def _read_token(self) -> str | None:
        path = self.settings.source_token_file
        try:
            return path.read_text().strip() or None if path is not None else None
        except (OSError, ValueError) as error:
            raise Refused(f"SOURCE_TOKEN_FILE={path} cannot be read: {error}") from error

    def _connected(self) -> Mastodon:
        if self._api is None:
            self._token = self._read_token()
            session = requests.Session()
            timeout = self.settings.source_timeout_seconds
            session.mount(self.settings.mastodon_url, DeadlineAdapter(self._connections, timeout))
            self._api = Mastodon(
                access_token=self._token,
                api_base_url=self.settings.mastodon_url,
                ratelimit_method="throw",
                request_timeout=timeout,
                version_check_mode="none",
                session=session,
                user_agent="twitter-producer",
            )
            if self._token is not None:
                self._stream = _Stream(self._api, self._tags)
                self._call(self._stream.open)
        return self._api

    def _call(self, request: Callable[[], T]) -> T:
        """Return what the library returns; raises SourceError for whatever it raises."""
        try:
            return request()
        except MastodonRatelimitError as error:
            reset = self._api.ratelimit_reset if self._api is not None else None
            raise RateLimited(f"429: {error}", reset) from error
        except MastodonAPIError as error:
            raise _translated(error) from error
        except (MastodonError, requests.RequestException) as error:
            raise Unavailable(printable(str(error))) from error
        except (AttributeError, TypeError, ValueError, KeyError, RecursionError) as error:
            raise Unavailable(f"Mastodon answered with something unexpected: {error!r}") from error

    def _post(self, status: dict[str, Any]) -> Post | None:
        """Return the post in a status; None if it is not wanted."""
        native = json.loads(json.dumps(status, default=_text))
        text, account = text_of(str(native.get("content") or "")), native.get("account") or {}
        if self._authors and str(account.get("acct")).lower() not in self._authors:
            return None
        if native.get("in_reply_to_id") and "replies" in self._filter.excludes:
            return None
        if not self._filter.matches(text, [native.get("language")]):
            return None
        data = {
            "id": str(native["id"]),
            "network": self.network,
            "text": text,
            "created_at": native.get("created_at"),
            "lang": native.get("language"),
            "url": native.get("url"),
            "author": {
                "id": str(account.get("id")),
                "name": account.get("display_name"),
                "handle": account.get("acct"),
                "url": account.get("url"),
            },
            "mastodon": native,
        }
        return Post(data["id"], data)

    def _deleted(self, api: Mastodon) -> list[str]:
        """Return delivered posts that are gone: the stream's, and of some that are asked for."""
        gone = self._stream.take_deleted() if self._stream is not None else []
        asked = [self._watched.popleft() for _ in range(min(_CHECKED_AT_ONCE, len(self._watched)))]
        self._watched.extend(asked)
        if asked:
            try:
                left = {str(status["id"]) for status in self._call(lambda: api.statuses(asked))}
            except (BadRequest, Unavailable):  # instances before Mastodon 4.3 have no such list
                left = set(asked)
            gone += [post_id for post_id in asked if post_id not in left]
        watched = set(self._watched)
        return [post_id for post_id in dict.fromkeys(gone) if post_id in watched]


class _Stream:
    """The streams of the hashtags, as a signal that there is something to read."""

    def __init__(self, api: Mastodon, tags: Sequence[str]) -> None:
        self._api, self._tags = api, tags
        self._signal = threading.Event()
        self._gone: deque[str] = deque(maxlen=_MOST_WATCHED)
        self._handles: list[Any] = []

    def open(self) -> None:
        """Open the streams; each is opened again by its own thread when it breaks."""
        for tag in self._tags:
            self._handles.append(
                self._api.stream_hashtag(
                    tag,
                    _Listener(self._signal, self._gone),
                    run_async=True,
                    timeout=_STREAM_SILENCE_SECONDS,
                    reconnect_async=True,
                )
            )

    def wait(self, seconds: float, shutdown: Any) -> None:
        """Wait until something has arrived, at most so long."""
        until = time.monotonic() + seconds
        while not shutdown and not self._signal.is_set() and time.monotonic() < until:
            self._signal.wait(0.2)
        self._signal.clear()

    def take_deleted(self) -> list[str]:
        """Return the ids of deleted posts since the last call."""
        return [self._gone.popleft() for _ in range(len(self._gone))]

    def close(self) -> None:
        """Close the streams."""
        for handle in self._handles:
            handle.close()


class _Listener(StreamListener):
    def __init__(self, signal: threading.Event, gone: deque[str]) -> None:
        super().__init__()
        self._signal, self._gone = signal, gone

    def on_update(self, status: Any) -> None:
        """Wake the loop."""
        self._signal.set()

    def on_delete(self, status_id: Any) -> None:
        """Keep the id, and wake the loop."""
        self._gone.append(str(status_id))
        self._signal.set()


def _deletion(post_id: str) -> Post:
    data = {"id": post_id, "network": MastodonSource.network}
    return Post(post_id, data, time=datetime.now(UTC), deleted=True)


def _order(post_id: str) -> tuple[int, str]:
    """Return what orders ids by time: numbers by their value, other texts of one length too."""
    return len(post_id), post_id


def _milliseconds(post_id: str) -> int:
    return int(post_id) >> 16 if post_id.isdecimal() and len(post_id) < 20 else 0


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _translated(error: MastodonAPIError) -> SourceError:
    status = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], int) else 0
    detail = printable(" ".join(str(part) for part in error.args[1:] if part))
    message = detail or printable(str(error))
    return of_status(status, message, {404: BadRequest, 422: Refused})
