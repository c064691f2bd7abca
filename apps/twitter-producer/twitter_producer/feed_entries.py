"""The entries of RSS, Atom and JSON feeds.

Contracts: RSS 2.0, RFC 4287 (Atom), RFC 6721 (deleted entries), https://www.jsonfeed.org/version/1.1/.
"""

from __future__ import annotations

import base64
import contextlib
from calendar import timegm
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.parsers import expat

import feedparser

from twitter_producer import json_text
from twitter_producer.delivered_ids import digest
from twitter_producer.html_text import LONGEST, text_of
from twitter_producer.posts import Post
from twitter_producer.settings import without_secrets

NETWORK = "feed"
#: Entries read of one document.
MOST_ENTRIES = 500
_ATOM_DELETED = "http://purl.org/atompub/tombstones/1.0 deleted-entry"
#: Characters of the 8 bytes of a digest in Base64 without padding.
HASH_LENGTH = 11


class NotAFeed(Exception):
    """The document is not a feed."""


@dataclass(frozen=True)
class Entry:
    """An entry of any kind of feed; `at` in Unix seconds."""

    id: str
    text: str
    at: float | None
    url: str | None
    author: dict[str, Any]
    language: str | None
    native: dict[str, Any]
    deleted: bool = False

    def post(self, feed: str, key: str) -> Post:
        """Return the post: its source is the feed's address."""
        made = datetime.fromtimestamp(self.at, UTC) if self.at is not None else None
        data: dict[str, Any] = {"id": self.id, "network": NETWORK, "entry": key}
        if not self.deleted:
            data |= {
                "text": self.text,
                "created_at": made.isoformat().replace("+00:00", "Z") if made else None,
                "lang": self.language,
                "url": self.url,
                "author": self.author,
                "feed": self.native,
            }
        source = without_secrets(feed)
        return Post(self.id, data, source, made or datetime.now(UTC), self.deleted)


def entries_of(content: bytes, content_type: str) -> Iterator[Entry]:
    """Yield the entries of a document; NotAFeed if it is not a feed."""
    if "json" in content_type.lower() or content.lstrip()[:1] == b"{":
        yield from _json_entries(content)
        return
    found = feedparser.parse(content, resolve_relative_uris=False, sanitize_html=False)
    if not found.entries and not found.version:
        raise NotAFeed("the answer is not a feed")
    language = found.feed.get("language")
    for entry in found.entries[:MOST_ENTRIES]:
        yield _xml_entry(entry, language if isinstance(language, str) else None)
    if b"deleted-entry" in content:
        yield from _tombstones(content)


def _xml_entry(entry: Any, language: str | None) -> Entry:
    body: Any = entry.get("summary_detail") or next(iter(entry.get("content", [])), {})
    title, link = _plain(entry.get("title_detail") or {}), entry.get("link")
    text = "\n".join(part for part in (title, _plain(body)) if part)
    at = entry.get("published_parsed") or entry.get("updated_parsed")
    author = entry.get("author_detail") or {}
    native = {
        name: entry[name]
        for name in ("title", "summary", "link", "published", "updated", "id")
        if isinstance(entry.get(name), str)
    }
    native["tags"] = [str(tag.get("term")) for tag in entry.get("tags", [])][:50]
    return Entry(
        id=str(entry.get("id") or link or hash_of(text)),
        text=text,
        at=float(timegm(at)) if at else None,
        url=str(link) if link else None,
        author={
            "name": author.get("name") or entry.get("author"),
            "handle": None,
            "url": author.get("href"),
        },
        language=language,
        native=native,
    )


def _plain(detail: Any) -> str:
    """Return the text of a title, summary or content as feedparser describes it."""
    value = str(detail.get("value") or "")
    return value[:LONGEST] if detail.get("type") == "text/plain" else text_of(value)


def _json_entries(content: bytes) -> Iterator[Entry]:
    try:
        document = json_text.decode(content)
        items = document["items"]
        if "jsonfeed.org" not in str(document["version"]) or not isinstance(items, list):
            raise ValueError("its version is not that of a JSON Feed")
    except (ValueError, KeyError, TypeError) as error:
        raise NotAFeed(f"the answer is not a JSON Feed: {error}") from error
    for item in items[:MOST_ENTRIES]:
        if not isinstance(item, dict):
            continue
        body = item.get("content_text") or text_of(str(item.get("content_html") or ""))
        text = "\n".join(str(part) for part in (item.get("title"), body) if part)
        authors = item.get("authors") or document.get("authors") or [{}]
        author = authors[0] if isinstance(authors, list) and isinstance(authors[0], dict) else {}
        yield Entry(
            id=str(item.get("id") or item.get("url") or hash_of(text)),
            text=text,
            at=_time(item.get("date_published") or item.get("date_modified")),
            url=item.get("url") if isinstance(item.get("url"), str) else None,
            author={"name": author.get("name"), "handle": None, "url": author.get("url")},
            language=item.get("language") or document.get("language"),
            native=item,
        )


def _tombstones(content: bytes) -> Iterator[Entry]:
    """Yield the deleted entries of an Atom feed."""
    found: list[Entry] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if name == _ATOM_DELETED and attributes.get("ref") and len(found) < MOST_ENTRIES:
            at = _time(attributes.get("when"))
            found.append(Entry(attributes["ref"], "", at, None, {}, None, {}, deleted=True))

    def declared(*_: object) -> None:
        raise NotAFeed("the feed declares entities")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EntityDeclHandler = start, declared
    # What feedparser has mended ends it; the tombstones up to there count.
    with contextlib.suppress(expat.ExpatError):
        parser.Parse(content, True)
    yield from found


def _time(text: object) -> float | None:
    try:
        moment = datetime.fromisoformat(str(text))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def hash_of(text: str) -> str:
    """Return the digest of an id as text of HASH_LENGTH characters."""
    return base64.urlsafe_b64encode(digest(text)).decode().rstrip("=")
