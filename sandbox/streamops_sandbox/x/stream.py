"""The filtered stream and its rules."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from streamops_sandbox.x.posts import Post, first_id, timestamp
from streamops_sandbox.x.problems import TYPES, Problem, invalid, not_modelled
from streamops_sandbox.x.query import Matcher, parse

RULE_LENGTH = 1024
KEEP_ALIVE_SECONDS = 20.0
_LOOK_SECONDS = 0.5


@dataclass
class Rule:
    """A rule of the app, with its value parsed."""

    id: str
    value: str
    tag: str | None
    matches: Matcher

    def describe(self) -> dict[str, str]:
        """Return the rule as X shows it."""
        return {"id": self.id, "value": self.value} | ({"tag": self.tag} if self.tag else {})


class Rules:
    """The app's rules."""

    def __init__(self) -> None:
        self.all: dict[str, Rule] = {}

    def change(self, body: Any) -> dict[str, Any]:
        """Add or delete rules; return X's answer, raises the 400."""
        given = [name for name in ("add", "delete") if isinstance(body, dict) and body.get(name)]
        if len(given) != 1:
            message = "Exactly one of `add`, `delete`, or `delete_all` must be given"
            raise invalid("body", "", message)
        answer = self._add(body["add"]) if given == ["add"] else self._delete(body["delete"])
        answer["meta"]["sent"] = timestamp(datetime.now(UTC))
        return {name: part for name, part in answer.items() if part}

    def matching(self, post: Post) -> list[dict[str, str]]:
        """Return the rules that a post matches, as they stand beside it in the stream."""
        return [
            {name: text for name, text in rule.describe().items() if name != "value"}
            for rule in self.all.values()
            if post.matches_all or rule.matches(post.data)
        ]

    def _add(self, entries: list[dict[str, Any]]) -> dict[str, Any]:
        added, errors = [], []
        known = {(rule.value, rule.tag): rule.id for rule in self.all.values()}
        for entry in entries:
            value, tag = str(entry.get("value") or ""), entry.get("tag")
            if (value, tag) in known:
                duplicate = _error("DuplicateRule", value, f"DuplicateRule: {value}")
                errors.append(duplicate | {"id": known[value, tag]})
                continue
            try:
                matcher = parse(value, RULE_LENGTH)
            except Problem as problem:
                if problem.status != 400:
                    raise
                errors.append(_error("UnprocessableEntity", value, str(problem)))
                continue
            rule_id = str(first_id(datetime.now(UTC)) + len(self.all) + len(errors))
            known[value, tag] = rule_id
            self.all[rule_id] = Rule(rule_id, value, tag, matcher)
            added.append(self.all[rule_id].describe())
        summary = {
            "created": len(added),
            "not_created": len(errors),
            "valid": len(added),
            "invalid": sum(error["title"] != "DuplicateRule" for error in errors),
        }
        return {"data": added, "meta": {"summary": summary}, "errors": errors}

    def _delete(self, body: dict[str, Any]) -> dict[str, Any]:
        if "values" in body:
            raise not_modelled("the deletion of rules by their values")
        wanted = [str(i) for i in body.get("ids") or []]
        found = [rule_id for rule_id in wanted if self.all.pop(rule_id, None) is not None]
        summary = {"deleted": len(found), "not_deleted": len(wanted) - len(found)}
        return {"meta": {"summary": summary}}


def _error(title: str, value: str, detail: str) -> dict[str, Any]:
    kind = TYPES + "invalid-request"
    return {"type": kind, "title": title, "detail": detail, "value": value}


class Stream:
    """The one connection that an app may have, fed with what is published."""

    def __init__(self, rules: Rules, bill: Callable[[int], None]) -> None:
        self._rules, self._bill = rules, bill
        self._queue: asyncio.Queue[Post | None] | None = None

    @property
    def connected(self) -> bool:
        """Whether somebody listens."""
        return self._queue is not None

    def offer(self, post: Post) -> None:
        """Send a new post to whom it may concern."""
        if self._queue is not None:
            self._queue.put_nowait(post)

    def disconnect(self) -> None:
        """Close the connection, as X does for its own reasons."""
        if self._queue is not None:
            self._queue.put_nowait(None)

    async def serve(
        self,
        request: web.Request,
        headers: dict[str, str],
        fields: set[str],
        includes: Callable[[Post], dict[str, Any]],
    ) -> web.StreamResponse:
        """Stream until either side closes; raises the 429 for a second connection."""
        if self._queue is not None:
            raise Problem(
                429,
                "ConnectionException",
                "This stream is currently at the maximum allowed connection limit.",
                connection_issue="TooManyConnections",
                headers=headers,
            )
        queue: asyncio.Queue[Post | None] = asyncio.Queue()
        self._queue = queue
        response = web.StreamResponse(headers=headers)
        response.content_type = "application/json"
        try:
            await response.prepare(request)
            async for post in _posts(request, response, queue):
                if rules := self._rules.matching(post):
                    shown = {name: value for name, value in post.data.items() if name in fields}
                    message = {"data": shown, **includes(post), "matching_rules": rules}
                    line = json.dumps(message, ensure_ascii=False)
                    self._bill(post.id)
                    await response.write(line.encode("utf-8", "backslashreplace") + b"\r\n")
        except ConnectionResetError:
            pass  # the client has gone, which is how streams end
        finally:
            self._queue = None
        return response


async def _posts(
    request: web.Request, response: web.StreamResponse, queue: asyncio.Queue[Post | None]
) -> AsyncIterator[Post]:
    """Yield posts until either side closes; in between, keep the connection alive."""
    quiet = KEEP_ALIVE_SECONDS
    while request.transport is not None and not request.transport.is_closing():
        if quiet >= KEEP_ALIVE_SECONDS:
            quiet = 0.0
            await response.write(b"\r\n")
        try:
            post = await asyncio.wait_for(queue.get(), _LOOK_SECONDS)
        except TimeoutError:
            quiet += _LOOK_SECONDS
            continue
        quiet = 0.0
        if post is None:
            return
        yield post
