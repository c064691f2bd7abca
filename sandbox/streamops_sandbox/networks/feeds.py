"""Feeds in three formats, with the validators that polite readers send back.

Contracts: RSS 2.0, RFC 4287 and RFC 6721 (Atom), https://www.jsonfeed.org/version/1.1/, RFC 9110.
"""

from __future__ import annotations

import hashlib
import html
import json
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime, formatdate
from typing import Any

from aiohttp import web

_LISTED = 50
_ATOM = (
    '<feed xmlns="http://www.w3.org/2005/Atom" xmlns:at="http://purl.org/atompub/tombstones/1.0">'
)


class Feeds:
    """Feeds by name; one that nobody has published to is not there."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._entries: dict[str, list[dict[str, Any]]] = {}
        self._deleted: dict[str, list[tuple[str, datetime]]] = {}
        self._requests: deque[dict[str, Any]] = deque(maxlen=1000)

    def add_to(self, app: web.Application, controls: dict[str, Callable[..., Any]]) -> None:
        """Add the routes, and the functions of the control interface."""
        app.router.add_get("/feeds/{name}.{kind:rss|atom|json}", self.feed)
        controls |= {
            "GET /feeds": lambda _: list(self._requests),
            "POST /feeds/{name}/posts": lambda entries, name: [
                self.publish(name, entry) for entry in entries
            ],
            "POST /feeds/{name}/deletions": self._delete,
        }

    def publish(self, name: str, entry: dict[str, Any]) -> str:
        """Publish an entry, `{"text": …, "author": …}`; return its id."""
        entries = self._entries.setdefault(name, [])
        number = len(entries) + 1
        made = entry.get("published", datetime.now(UTC).isoformat())
        entry_id = str(entry.get("id", f"urn:sandbox:{name}:{number}"))
        entries.append({**entry, "id": entry_id, "published": made})
        return entry_id

    async def feed(self, request: web.Request) -> web.Response:
        """Answer the newest entries, or 304 where the client has them."""
        name, kind = request.match_info["name"], request.match_info["kind"]
        seen = {h: request.headers[h] for h in ("If-None-Match",) if h in request.headers}
        self._requests.append({"url": str(request.rel_url), "headers": seen})
        if name not in self._entries:
            raise web.HTTPNotFound
        listed = self._entries[name][-_LISTED:][::-1]
        body, content_type = {"rss": self._rss, "atom": self._atom, "json": self._json}[kind](
            name, listed
        )
        etag = f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'
        headers = {"ETag": etag, "Last-Modified": formatdate(time.time(), usegmt=True)}
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        return web.Response(text=body, content_type=content_type, headers=headers)

    def _rss(self, name: str, entries: list[dict[str, Any]]) -> tuple[str, str]:
        items = "".join(
            f'<item><guid isPermaLink="false">{html.escape(e["id"])}</guid>'
            f"<description>{html.escape(html.escape(str(e.get('text', ''))))}</description>"
            f"<link>{self._base_url}/entries/{html.escape(e['id'])}</link>"
            f"<pubDate>{format_datetime(datetime.fromisoformat(e['published']))}</pubDate></item>"
            for e in entries
        )
        return (
            f'<?xml version="1.0" encoding="UTF-8"?><rss version="2.0"><channel><title>{name}'
            f"</title><link>{self._base_url}</link><description>{name}</description>{items}"
            "</channel></rss>",
            "application/rss+xml",
        )

    def _atom(self, name: str, entries: list[dict[str, Any]]) -> tuple[str, str]:
        items = "".join(
            f"<entry><id>{html.escape(e['id'])}</id><title>{name}</title>"
            f"<updated>{e['published']}</updated><published>{e['published']}</published>"
            f"<author><name>{html.escape(_author(e))}</name></author>"
            f'<content type="text">{html.escape(str(e.get("text", "")))}</content></entry>'
            for e in entries
        )
        deleted = "".join(
            f'<at:deleted-entry ref="{html.escape(ref)}" when="{when.isoformat()}"/>'
            for ref, when in self._deleted.get(name, [])
        )
        head = f'<?xml version="1.0" encoding="UTF-8"?>{_ATOM}<id>urn:sandbox:{name}</id>'
        return f"{head}<title>{name}</title>{deleted}{items}</feed>", "application/atom+xml"

    def _json(self, name: str, entries: list[dict[str, Any]]) -> tuple[str, str]:
        items = [
            {
                "id": e["id"],
                "url": f"{self._base_url}/entries/{e['id']}",
                "content_text": e.get("text", ""),
                "date_published": e["published"],
                "authors": [{"name": _author(e)}],
            }
            for e in entries
        ]
        feed = {"version": "https://jsonfeed.org/version/1.1", "title": name, "items": items}
        return json.dumps(feed), "application/feed+json"

    def _delete(self, ids: list[str], name: str) -> None:
        """Delete entries; Atom says so."""
        self._entries[name] = [e for e in self._entries[name] if e["id"] not in ids]
        self._deleted.setdefault(name, []).extend((ref, datetime.now(UTC)) for ref in ids)


def _author(entry: dict[str, Any]) -> str:
    return str(entry.get("author", "The sandbox"))
