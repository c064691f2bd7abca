"""RSS, Atom and JSON feeds, each polled politely.

Contract: RFC 9110 and 9111 for ETag, Last-Modified, Retry-After and Cache-Control.
"""

from __future__ import annotations

import heapq
import logging
import random
import re
import ssl
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from twitter_producer.connections import Connections, Reply, Unreachable
from twitter_producer.deadline_adapter import trusted_authorities
from twitter_producer.feed_entries import HASH_LENGTH, NETWORK, Entry, NotAFeed, entries_of, hash_of
from twitter_producer.http_answers import printable, retry_after
from twitter_producer.posts import Post
from twitter_producer.settings import without_secrets
from twitter_producer.snapshot import Snapshot
from twitter_producer.sources import Context, Source
from twitter_producer.text_filter import TextFilter

log = logging.getLogger(__name__)

_LONGEST_FEED = 5 << 20
_FETCHED_AT_ONCE = 8
_GATHER_SECONDS = 1.0
_MOST_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
#: Entries remembered of a feed: more than any feed lists at a time.
_MOST_REMEMBERED = 500
#: Entries that a feed lists no longer are remembered for its tombstones, and where it wavers.
_MOST_UNLISTED = 50
#: Thousands of feeds make a checkpoint of megabytes, which is not written after each of them.
_CHECKPOINT_SECONDS = 5.0
_DAY_SECONDS = 86_400.0
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=([0-9]{1,9})")


@dataclass
class _Feed:
    """What is known of a feed; `entries` are hashes of the ids that need no delivery."""

    url: str
    etag: str = ""
    modified: str = ""
    entries: list[str] = field(default_factory=list)
    read: bool = False
    failures: int = 0
    gone: bool = False
    moved_to: str = ""

    def dump(self) -> dict[str, Any]:
        """Return what the next process has to know."""
        stored: dict[str, Any] = {"entries": "".join(self.entries)}
        for name in ("etag", "modified"):
            if value := getattr(self, name):
                stored[name] = value
        return stored

    def load(self, stored: dict[str, Any]) -> None:
        """Take over what `dump` returned."""
        text = str(stored["entries"])
        self.entries = [text[i : i + HASH_LENGTH] for i in range(0, len(text), HASH_LENGTH)]
        self.etag, self.modified = str(stored.get("etag", "")), str(stored.get("modified", ""))
        self.read = True


@dataclass(frozen=True)
class _Document:
    """A feed's entries that are new, oldest first, and what to remember once they are delivered."""

    feed: _Feed
    posts: list[Post]
    entries: list[str]
    etag: str
    modified: str


@dataclass(frozen=True)
class FeedBatch:
    """The posts of one document."""

    posts: list[Post]
    document: _Document | None
    ended: bool


class FeedError(Exception):
    """A feed was not read; `seconds` until it may be tried again, where the server says so."""

    def __init__(self, message: str, seconds: float | None = None) -> None:
        super().__init__(message)
        self.seconds = seconds


class FeedSource(Source):
    """Reads feeds when each is due; what one of them does does not hold up the others."""

    network, title = NETWORK, "The feeds"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        settings = self.settings
        self._feeds = {url: _Feed(url) for url in settings.feed_urls}
        self._filter = TextFilter(settings.topics, settings.languages, settings.excludes)
        self._authors = {author.casefold() for author in settings.authors}
        self._trust = trusted_authorities()
        self._pool = ThreadPoolExecutor(_FETCHED_AT_ONCE, thread_name_prefix="feed")
        self._running: dict[Future[tuple[_Document | None, float]], _Feed] = {}
        self._ready: list[_Document] = []
        self._batch: FeedBatch | None = None
        self._snapshot = Snapshot(
            lambda: {"feeds": {url: feed.dump() for url, feed in self._feeds.items() if feed.read}},
            min(_CHECKPOINT_SECONDS, len(self._feeds) / 100),
        )
        # Not all of them at once, also when there are thousands.
        spread = min(settings.feed_interval_seconds, len(self._feeds) * 0.05)
        now = time.monotonic()
        self._due = [
            (now + spread * place / len(self._feeds), url) for place, url in enumerate(self._feeds)
        ]
        self._complete_until = self.now()

    def restore(self, stored: dict[str, Any]) -> None:
        """Resume each feed from the entries that were delivered."""
        for url, kept in stored["feeds"].items():
            if url in self._feeds:
                self._feeds[url].load(kept)
        log.info("resumes from the checkpoint", extra={"feeds": len(stored["feeds"])})

    def begin(self) -> None:
        """Start with the entries of the look-back; those without a time count as old."""

    def dump(self) -> dict[str, Any]:
        """Return the feeds that have been read, as they were some seconds ago at most."""
        return self._snapshot.get()

    def release(self) -> None:
        """Make the next dump the present state."""
        self._snapshot.forget()

    def describe(self) -> dict[str, Any]:
        """Return how many feeds are read, fail, or are gone."""
        feeds = self._feeds.values()
        failing = [without_secrets(feed.url) for feed in feeds if feed.failures]
        return {
            "query": None,
            "checkpoint": [{"after": self._complete_until.isoformat()}],
            "feeds": {
                "configured": len(self._feeds),
                "read": sum(feed.read for feed in feeds),
                "gone": [without_secrets(feed.url) for feed in feeds if feed.gone][:20],
                "failing": failing[:20],
            },
        }

    def read(self) -> FeedBatch:
        """Return the new entries of one feed, after waiting up to a second for one."""
        self.heartbeat.beat(self.settings.source_timeout_seconds * 2)
        self._begin_due()
        if not self._ready and self._running:
            done, _ = wait(self._running, _GATHER_SECONDS, FIRST_COMPLETED)
            for future in done:
                self._finish(future)
        if not self._ready:
            self._batch = FeedBatch([], None, ended=not self._running)
            return self._batch
        document = self._ready.pop(0)
        self._batch = FeedBatch(document.posts, document, ended=False)
        return self._batch

    def commit(self, done: Sequence[bool]) -> bool:
        """Remember what was delivered of the feed; the rest is found by its next read."""
        assert self._batch is not None
        document = self._batch.document
        if document is not None:
            feed = document.feed
            if all(done):
                feed.entries = document.entries
                feed.etag, feed.modified, feed.read = document.etag, document.modified, True
            else:
                kept = {
                    post.data["entry"] for post, d in zip(document.posts, done, strict=True) if d
                }
                feed.entries = [*feed.entries, *kept][-_MOST_REMEMBERED:]
        elif not self._running:
            self._complete_until = self.now()
        return bool(self._ready)

    def pause(self) -> float:
        """Return the seconds until the next feed is due."""
        if self._ready or self._running:
            return 0.0
        due = self._due[0][0] if self._due else time.monotonic() + _DAY_SECONDS
        return min(max(due - time.monotonic(), 0.0), 60.0)

    @property
    def complete_until(self) -> datetime:
        """The last time at which no feed was being read or delivered."""
        return self._complete_until

    def close(self) -> None:
        """Begin no further requests."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin_due(self) -> None:
        now = time.monotonic()
        while (
            self._due
            and self._due[0][0] <= now
            and len(self._running) + len(self._ready) < _FETCHED_AT_ONCE
        ):
            _, url = heapq.heappop(self._due)
            feed = self._feeds[url]
            self.metrics.polls.inc()
            self._running[self._pool.submit(self._fetch, feed)] = feed

    def _finish(self, future: Future[tuple[_Document | None, float]]) -> None:
        """Take over an answer, and plan the feed's next read."""
        feed = self._running.pop(future)
        interval = self.settings.feed_interval_seconds
        try:
            document, fresh_for = future.result()
            feed.failures = 0
            seconds = min(max(interval, fresh_for), _DAY_SECONDS)
            if document is not None:
                self._ready.append(document)
        except FeedError as error:
            feed.failures += 1
            if feed.gone:
                log.error("a feed is gone: it is not read any more", extra=_shown(feed, error))
                return
            backoff = interval * 2.0 ** min(feed.failures - 1, 6)
            seconds = min(max(backoff, error.seconds or 0.0), _DAY_SECONDS)
            self.metrics.source_errors.labels("FeedError").inc()
            log.warning("a feed was not read", extra=_shown(feed, error))
        except Exception as error:
            feed.failures += 1
            seconds = _DAY_SECONDS / 24
            log.exception("a feed could not be processed: this is a bug", extra=_shown(feed, error))
        jitter = random.uniform(0.95, 1.05)  # noqa: S311 - spreads load, guards nothing
        heapq.heappush(self._due, (time.monotonic() + seconds * jitter, feed.url))

    def _fetch(self, feed: _Feed) -> tuple[_Document | None, float]:
        """Return what is new in a feed, and for how many seconds the answer is fresh."""
        headers = {
            "Accept": "application/atom+xml, application/rss+xml, application/feed+json, */*;q=0.5",
            "Accept-Encoding": "gzip",
            "User-Agent": "twitter-producer",
        }
        if feed.etag:
            headers["If-None-Match"] = feed.etag
        if feed.modified:
            headers["If-Modified-Since"] = feed.modified
        reply = self._follow(feed, headers)
        fresh_for = _freshness(reply)
        if reply.status == 304:
            return None, fresh_for
        try:
            entries = list(entries_of(_content(reply), reply.headers.get("Content-Type") or ""))
        except NotAFeed as error:
            raise FeedError(str(error)) from error
        return self._document(feed, entries, reply), fresh_for

    def _follow(self, feed: _Feed, headers: dict[str, str]) -> Reply:
        """Return the answer after redirects; raises FeedError for any other than 200 and 304."""
        url = feed.url
        for _ in range(_MOST_REDIRECTS):
            reply = _get(url, headers, self.settings.source_timeout_seconds, self._trust)
            if reply.status not in _REDIRECTS:
                break
            target = urljoin(url, reply.headers.get("Location") or "")
            if urlsplit(target).scheme not in {"http", "https"}:
                raise FeedError(f"{reply.status}: redirects to something that is not HTTP")
            if reply.status in {301, 308} and feed.moved_to != target:
                feed.moved_to = target
                log.warning(
                    "a feed has moved: change its address",
                    extra={"feed": without_secrets(feed.url), "to": without_secrets(target)},
                )
            url = target
        if reply.status in {200, 304}:
            return reply
        feed.gone = reply.status == 410
        wait_seconds = retry_after(reply.headers.get("Retry-After"))
        raise FeedError(f"{reply.status} {printable(reply.reason)}", wait_seconds)

    def _document(self, feed: _Feed, entries: list[Entry], reply: Reply) -> _Document:
        """Return the entries that are new and wanted, oldest first."""
        known = set(feed.entries)
        oldest = time.time() - self.settings.lookback_seconds
        posts: list[tuple[float, Post]] = []
        hashes: dict[str, None] = {}
        for entry in reversed(entries):  # feeds list the newest first; some times are equal
            key = hash_of(f"{entry.id}\ndeleted" if entry.deleted else entry.id)
            hashes[key] = None
            if key in known:
                continue
            if entry.deleted:
                if hash_of(entry.id) in known:
                    posts.append((entry.at or time.time(), entry.post(feed.url, key)))
                continue
            if not feed.read and (entry.at or 0.0) < oldest:
                continue
            if self._authors and str(entry.author.get("name")).casefold() not in self._authors:
                continue
            # Most feeds do not say their language: then every one of LANGUAGES may be meant.
            languages = [entry.language] if entry.language else self.settings.languages
            if self._filter.matches(entry.text, languages):
                posts.append((entry.at or time.time(), entry.post(feed.url, key)))
        self.metrics.posts.inc(len(entries))
        self.metrics.duplicates.inc(len(entries) - len(posts))
        no_longer_listed = [key for key in feed.entries if key not in hashes]
        remembered = [*no_longer_listed[-_MOST_UNLISTED:], *hashes]
        return _Document(
            feed,
            [post for _, post in sorted(posts, key=lambda pair: pair[0])],
            remembered,
            (reply.headers.get("ETag") or "")[:500],
            (reply.headers.get("Last-Modified") or "")[:100],
        )


def _get(url: str, headers: dict[str, str], seconds: float, trust: ssl.SSLContext) -> Reply:
    secure = url.startswith("https:")
    try:
        connections = Connections(url, seconds, trust if secure else None, longest=_LONGEST_FEED)
        try:
            parts = urlsplit(url)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            reply = connections.request("GET", target, b"", headers)
        finally:
            connections.close()
    except (Unreachable, ValueError) as error:
        raise FeedError(f"no answer: {printable(str(error))}") from error
    if not reply.complete:
        raise FeedError(f"the answer was cut off, or is longer than {_LONGEST_FEED >> 20} MiB")
    return reply


def _content(reply: Reply) -> bytes:
    if (reply.headers.get("Content-Encoding") or "").lower() not in {"gzip", "x-gzip"}:
        return reply.body
    try:
        reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
        content = reader.decompress(reply.body, _LONGEST_FEED)
    except zlib.error as error:
        raise FeedError(f"the answer is not gzip: {error}") from error
    if reader.unconsumed_tail:
        raise FeedError(f"the answer is longer than {_LONGEST_FEED >> 20} MiB")
    return content


def _freshness(reply: Reply) -> float:
    found = _MAX_AGE.search((reply.headers.get("Cache-Control") or "")[:500].lower())
    return float(found[1]) if found else 0.0


def _shown(feed: _Feed, error: Exception) -> dict[str, Any]:
    return {"feed": without_secrets(feed.url), "error": printable(str(error))}
