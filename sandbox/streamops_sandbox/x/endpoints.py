"""X's endpoints: recent search, the filtered stream and its rules, compliance jobs, tokens."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from aiohttp import web

from streamops_sandbox.x import parameters
from streamops_sandbox.x.auth import AppKeys, Authenticator
from streamops_sandbox.x.compliance import Compliance
from streamops_sandbox.x.faults import Faults
from streamops_sandbox.x.limits import Bill, RateLimits
from streamops_sandbox.x.posts import MEMORY, OWN_POSTS, Post, Posts, Script
from streamops_sandbox.x.problems import Problem, invalid, not_modelled
from streamops_sandbox.x.query import parse
from streamops_sandbox.x.stream import Rules, Stream

QUERY_LENGTH = 512
KEYS_FILE = "x-keys.json"
_NEVER = datetime.max.replace(tzinfo=UTC)


class X:
    """The stand-in: what it knows, whom it bills, and how it answers."""

    def __init__(self, home: Path, base_url: str, posts: Path | None) -> None:
        self.ahead = timedelta(0)
        #: Names of parameters that are not taken.
        self.refused: set[str] = set()
        self.keys_file = home / KEYS_FILE
        self.authenticator = Authenticator(AppKeys.at(self.keys_file), base_url)
        self.posts = Posts(Script.load(posts or OWN_POSTS), self.now())
        self.limits, self.bill, self.faults = RateLimits(), Bill(), Faults()
        self.compliance = Compliance(base_url, self.now)
        self.rules = Rules()
        self.stream = Stream(self.rules, lambda post_id: self.bill.add([post_id], self.now()))
        self.requests: deque[dict[str, Any]] = deque(maxlen=1000)

    def now(self) -> datetime:
        """Return X's time; its day is UTC's."""
        return datetime.now(UTC) + self.ahead

    def publish(self, entry: dict[str, Any], *, matches_all: bool = False) -> Post:
        """Publish a post now."""
        post = self.posts.publish(entry, self.now(), matches_all=matches_all)
        self.stream.offer(post)
        return post

    def routes(self) -> list[web.RouteDef]:
        """Return the handlers with their paths."""
        return [
            web.get("/2/tweets/search/recent", self._search),
            web.get("/2/tweets/search/stream", self._open_stream),
            web.get("/2/tweets/search/stream/rules", self._list_rules),
            web.post("/2/tweets/search/stream/rules", self._change_rules),
            web.post("/2/compliance/jobs", self._create_job),
            web.get("/2/compliance/jobs/{id}", self._show_job),
            web.put("/storage/compliance/{id}/submission", self.compliance.upload),
            web.get("/storage/compliance/{id}/delivery", self.compliance.download),
            web.post("/oauth2/token", self._token),
            web.route("*", "/{path:.*}", self._missing),
        ]

    async def _search(self, request: web.Request) -> web.Response:
        headers, given = self._admit(request, "search", "app", "user")
        now = self.now()
        matches = parse(given["query"], QUERY_LENGTH)
        self._appear(now)
        above, below, start, end = parameters.bounds(given, self.posts, now)
        self.bill.check()
        matching = (
            post
            for post in self.posts.newest_first(above, below)
            if (start is None or start <= post.published)
            and now - MEMORY < post.published < (end or _NEVER)
            and (post.matches_all or matches(post.data))
        )
        found = list(islice(matching, given.get("max_results", 10)))
        self.bill.add((post.id for post in found), now)
        page = _page(found, parameters.shown(given), more=next(matching, None) is not None)
        return _json(page | self._includes(found, parameters.of_authors(given), now), headers)

    async def _open_stream(self, request: web.Request) -> web.StreamResponse:
        headers, given = self._admit(request, "stream")
        fields, of_authors = parameters.shown(given), parameters.of_authors(given)
        self.bill.check()
        ticker = asyncio.create_task(self._tick())

        def includes(post: Post) -> dict[str, Any]:
            return self._includes([post], of_authors, self.now())

        try:
            return await self.stream.serve(request, headers, fields, includes)
        finally:
            ticker.cancel()

    async def _list_rules(self, request: web.Request) -> web.Response:
        headers, _ = self._admit(request, "rules")
        rules = [rule.describe() for rule in self.rules.all.values()]
        body: dict[str, Any] = {"data": rules} if rules else {}
        return _json(body | {"meta": {"result_count": len(rules)}}, headers)

    async def _change_rules(self, request: web.Request) -> web.Response:
        headers, _ = self._admit(request, "rules-change")
        answer = self.rules.change(await _body(request))
        return _json(answer, headers, status=201 if "data" in answer else 200)

    async def _create_job(self, request: web.Request) -> web.Response:
        headers, _ = self._admit(request, "compliance")
        return _json({"data": self.compliance.create(await _body(request))}, headers)

    async def _show_job(self, request: web.Request) -> web.Response:
        headers, _ = self._admit(request, "compliance")
        return _json({"data": self.compliance.show(request.match_info["id"])}, headers)

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        return _json(self.authenticator.exchange(request, str(form.get("grant_type", ""))), {})

    async def _missing(self, request: web.Request) -> web.Response:
        raise not_modelled(f"{request.method} {request.path}")

    def _admit(
        self, request: web.Request, endpoint: str, *kinds: str
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Return the headers of an answer and the parameters; raises what X refuses a request with.

        `kinds` are those of the callers that the endpoint is for: apps alone where none is given.
        """
        kind = self.authenticator.caller(request)
        if kind not in (kinds or ("app",)):
            raise Problem(
                403,
                "Forbidden",
                "Authenticating with OAuth 1.0a User Context is forbidden for this endpoint. "
                "Supported authentication types are [OAuth 2.0 Application-Only].",
            )
        headers = self.limits.take(endpoint, kind, self.now())
        return headers, parameters.read(endpoint, request.query, self.refused)

    def _includes(self, posts: list[Post], fields: set[str], now: datetime) -> dict[str, Any]:
        """Return, and bill, the authors of posts where these are asked for."""
        users = self.posts.users(posts, fields) if fields else []
        self.bill.add_users((user["id"] for user in users), now)
        return {"includes": {"users": users}} if users else {}

    def _appear(self, now: datetime) -> None:
        for post in self.posts.appear(now):
            self.stream.offer(post)

    async def _tick(self) -> None:
        """Let the script's posts appear while someone listens; without listeners nothing runs."""
        while (wait := self.posts.seconds_to_next(self.now())) is not None:
            await asyncio.sleep(wait + 0.01)
            self._appear(self.now())


def _page(found: list[Post], fields: set[str], *, more: bool) -> dict[str, Any]:
    meta: dict[str, Any] = {"result_count": len(found)}
    if not found:
        return {"meta": meta}
    meta |= {"newest_id": str(found[0].id), "oldest_id": str(found[-1].id)}
    if more:
        meta["next_token"] = parameters.encode(found[-1].id)
    data = [{name: v for name, v in post.data.items() if name in fields} for post in found]
    return {"data": data, "meta": meta}


async def _body(request: web.Request) -> Any:
    try:
        return json.loads(await request.text() or "{}")
    except ValueError as error:
        raise invalid("body", "", "the body is no JSON") from error


def _json(body: Any, headers: dict[str, str], status: int = 200) -> web.Response:
    # A text may have been cut inside an emoji: X sends what is left of it as an escape.
    text = json.dumps(body, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return web.Response(
        body=text,
        status=status,
        headers=headers,
        content_type="application/json",
        charset="utf-8",
    )
