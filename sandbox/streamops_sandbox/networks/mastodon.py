"""Mastodon: timelines of hashtags, statuses by id, and the stream of a hashtag.

Contract: https://docs.joinmastodon.org/methods/timelines/#tag, .../methods/statuses/#index,
.../methods/streaming/ and .../api/rate-limits/.
"""

from __future__ import annotations

import asyncio
import html
import json
import re
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from streamops_sandbox.x.problems import Problem

_LONGEST_PAGE, _PAGE = 40, 20
_LIMIT, _PERIOD_SECONDS = 300, 300
_MOST_STATUSES = 100_000
_HASHTAG = re.compile(r"#(\w+)")


class Mastodon:
    """The statuses of an instance, by id, and those who listen."""

    def __init__(self, home: Path, base_url: str) -> None:
        self._base_url = base_url
        self._statuses: dict[int, dict[str, Any]] = {}
        self._listeners: dict[asyncio.Queue[str], str] = {}
        self._used, self._period_ends = 0, 0.0
        self.limit = _LIMIT
        token = home / "mastodon-token"
        if not token.exists():
            token.write_text(secrets.token_urlsafe(24))
            token.chmod(0o600)
        self._token = token.read_text().strip()

    def add_to(self, app: web.Application, controls: dict[str, Callable[..., Any]]) -> None:
        """Add the routes, and the functions of the control interface."""
        app.router.add_get("/api/v1/timelines/tag/{tag}", self.timeline)
        app.router.add_get("/api/v1/statuses", self.statuses)
        app.router.add_get("/api/v1/streaming/hashtag", self.stream)
        app.on_shutdown.append(self._hang_up)
        controls |= {
            "GET /mastodon": lambda _: {
                "statuses": len(self._statuses),
                "listeners": len(self._listeners),
            },
            "POST /mastodon/posts": lambda entries: [self.publish(entry) for entry in entries],
            "POST /mastodon/deletions": self._delete,
            "PUT /mastodon/limit": self._set_limit,
            "POST /mastodon/disconnect": lambda _: self._end_streams(),
        }

    def publish(self, entry: dict[str, Any]) -> str:
        """Publish a status, `{"text": …, "lang": …, "acct": …}` or Mastodon's own; return its id."""
        now = time.time()
        number = int(now * 1000) << 16
        while number in self._statuses:
            number += 1
        text, account = str(entry.get("text", "")), str(entry.get("acct", "sandbox"))
        status = {
            "id": str(number),
            "created_at": datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z"),
            "in_reply_to_id": None,
            "sensitive": False,
            "spoiler_text": "",
            "visibility": "public",
            "language": entry.get("lang", "en"),
            "uri": f"{self._base_url}/users/sandbox/statuses/{number}",
            "url": f"{self._base_url}/@sandbox/{number}",
            "content": f"<p>{html.escape(text)}</p>",
            "tags": [{"name": t, "url": f"{self._base_url}/tags/{t}"} for t in _tags(text)],
            "account": {
                "id": "1",
                "username": account.partition("@")[0],
                "acct": account,
                "display_name": "The sandbox",
                "url": f"{self._base_url}/@{account}",
            },
            "media_attachments": [],
            "mentions": [],
            "emojis": [],
        }
        self._statuses[number] = status | {
            k: v for k, v in entry.items() if k not in ("text", "lang", "acct")
        }
        if len(self._statuses) > _MOST_STATUSES:
            del self._statuses[next(iter(self._statuses))]
        self._tell("update", json.dumps(self._statuses[number]), _tags(text))
        return str(number)

    def _tell(self, event: str, payload: str, tags: set[str]) -> None:
        for queue, tag in self._listeners.items():
            if tag in tags:
                queue.put_nowait(f"event: {event}\ndata: {payload}\n\n")

    async def timeline(self, request: web.Request) -> web.Response:
        """Answer a page, newest first; with `min_id` the oldest ones after it."""
        headers, tag = self._count(), request.match_info["tag"].lower()
        limit = min(_number(request, "limit") or _PAGE, _LONGEST_PAGE)
        after = _number(request, "min_id")
        if unknown := request.query.keys() - {"limit", "min_id"}:
            raise web.HTTPNotImplemented(text=f"not modelled: {', '.join(sorted(unknown))}")
        found = [
            status
            for number, status in sorted(self._statuses.items())
            if number > (after or 0) and tag in _tags(_text(status))
        ]
        page = found[-limit:] if after is None else found[:limit]
        return web.json_response(page[::-1], headers=headers)

    async def statuses(self, request: web.Request) -> web.Response:
        """Answer those of the statuses in `id[]` that exist."""
        headers = self._count()
        ids = request.query.getall("id[]", []) + request.query.getall("id", [])
        if len(ids) > _PAGE:
            raise Problem(422, "Unprocessable", "too many ids")
        found = [self._statuses[int(i)] for i in ids if i.isdecimal() and int(i) in self._statuses]
        return web.json_response(found, headers=headers)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Send the events of a hashtag until the client goes."""
        if request.headers.get("Authorization") != f"Bearer {self._token}":
            raise Problem(401, "Unauthorized", "Access to this endpoint requires an access token")
        if not (tag := request.query.get("tag", "").lower()):
            raise Problem(400, "Bad Request", "Missing tag name parameter")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._listeners[queue] = tag
        try:
            await response.write(b":)\n")
            while True:
                try:
                    text = await asyncio.wait_for(queue.get(), 15)
                except TimeoutError:
                    text = ":thump\n"
                if not text:
                    return response
                await response.write(text.encode())
        except ConnectionError:
            return response  # the client has gone
        finally:
            self._listeners.pop(queue, None)

    def _delete(self, ids: list[str]) -> None:
        for text in ids:
            status = self._statuses.pop(int(text))
            self._tell("delete", text, _tags(_text(status)))

    def _set_limit(self, body: dict[str, int]) -> None:
        """Set the requests allowed in a period, and begin one."""
        self.limit, self._period_ends = int(body["requests"]), 0.0

    def _end_streams(self) -> None:
        for queue in self._listeners:
            queue.put_nowait("")

    async def _hang_up(self, _app: web.Application) -> None:
        self._end_streams()

    def _count(self) -> dict[str, str]:
        """Count a request; return the headers that say what is left."""
        if time.time() >= self._period_ends:
            self._used, self._period_ends = 0, time.time() + _PERIOD_SECONDS
        self._used += 1
        reset = datetime.fromtimestamp(self._period_ends, UTC).isoformat().replace("+00:00", "Z")
        headers = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(0, self.limit - self._used)),
            "X-RateLimit-Reset": reset,
        }
        if self._used > self.limit:
            raise Problem(429, "Too Many Requests", "Too many requests", headers=headers)
        return headers


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name, "")
    return int(text) if re.fullmatch(r"[0-9]{1,20}", text) else None


def _text(status: dict[str, Any]) -> str:
    return html.unescape(str(status["content"]))


def _tags(text: str) -> set[str]:
    return {tag.lower() for tag in _HASHTAG.findall(text)}
