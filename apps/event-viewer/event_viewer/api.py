"""The API, all but the receiver and the stream."""

from __future__ import annotations

import asyncio
import datetime
import secrets
import time
import urllib.parse
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from event_viewer import metrics
from event_viewer.auth import Auth, Right
from event_viewer.cloudevents import Event
from event_viewer.http import (
    PART_BYTES,
    Answer,
    Body,
    Problem,
    Room,
    StreamedAnswer,
    header,
    json_answer,
)
from event_viewer.pipelines import Pipelines
from event_viewer.reading import Reader
from event_viewer.replay import Replayer
from event_viewer.store.interface import MAX_PAGE, Query, Rejection, rfc3339
from event_viewer.store.removal import BY_OPERATOR, MOST_REMOVALS, SUFFIX
from event_viewer.writer import Writer

T = TypeVar("T")

#: Longest filter, in characters.
MAX_FILTER = 1000
MAX_SEQ = 2**62
HOUR_MINUTES = 60
#: Refused requests read at a time.
REJECTIONS = 5
#: Largest request body but for events: a replay names an event, a session a token.
MAX_BODY = 64 << 10
NO_STORE = ((b"cache-control", b"no-store"),)
JSON = "application/json"


class Api:
    """Handlers of the API's operations; their rights have been checked."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        auth: Auth,
        replayer: Replayer,
        room: Room,
        pipelines: Pipelines,
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.store = reader.store
        self.auth = auth
        self.replayer = replayer
        self.room = room
        self.pipeline_statuses = pipelines

    async def metrics(self, _request: Request) -> ASGIApp:
        """`GET /metrics`."""
        text = await self.reader.run(lambda: metrics.render(self.store.total()))
        return Answer(200, text, "text/plain; version=0.0.4")

    async def session(self, request: Request) -> ASGIApp:
        """`GET /api/session`: what this client may do."""
        rights = self.auth.rights(request.scope)
        replayer = self.replayer
        sinks = [sink for sink in (replayer.default, *replayer.allowed) if sink not in ("", "*")]
        return json_answer(
            {
                "read": Right.READ in rights,
                "write": Right.WRITE in rights,
                "user": self.auth.user(request.scope),
                "remove": set(Right) <= rights,
                "replay": replayer.enabled and set(Right) <= rights,
                "sinks": sinks,
                "any_sink": "*" in replayer.allowed,
                "pipelines": self.pipeline_statuses.enabled,
            },
            headers=NO_STORE,
        )

    async def log_in(self, request: Request) -> ASGIApp:
        """`POST /api/session`: exchange a token for a cookie that no script can read."""
        login = await self._body(request, _Login)
        granted = sorted(
            self.auth.rights_of_token(request.scope, login.token.encode(errors="replace"))
        )
        if not granted:
            raise Problem(401, "the token is not valid")
        answer = Response(msgspec.json.encode({"granted": granted}), media_type=JSON)
        answer.headers["cache-control"] = "no-store"
        headers = request.scope["headers"]
        https = request.url.scheme == "https" or header(headers, b"x-forwarded-proto") == b"https"
        for right in granted:
            answer.set_cookie(
                f"event-viewer-{right}",
                self.auth.tokens[right].session(right),
                httponly=True,
                samesite="strict",
                secure=https,
            )
        return answer

    async def log_out(self, _request: Request) -> ASGIApp:
        """`DELETE /api/session`."""
        answer = Response(status_code=204)
        for right in Right:
            answer.delete_cookie(f"event-viewer-{right}")
        return answer

    async def events(self, request: Request) -> ASGIApp:
        """`GET /api/events`: a page of the history."""
        query = _query(request)
        # The position comes first: what is stored after it is in the stream, perhaps here as well.
        position, total = await self.reader.run(
            lambda: (f"{self.store.epoch}-{self.store.last()}", self.store.total())
        )
        head = msgspec.json.encode({"total": total, "position": position})
        if not query.limit:
            return Answer(200, head[:-1] + b',"next":null,"events":[]}', headers=NO_STORE)
        first = await self.reader.page(query, PART_BYTES)

        async def parts() -> AsyncIterator[bytes]:
            yield head[:-1] + b',"events":['
            async for part in self.reader.page_parts(query, first):
                yield part
            yield b"}"

        return StreamedAnswer(parts(), JSON, NO_STORE)

    async def event(self, request: Request) -> ASGIApp:
        """`GET /api/events/{source}/{id}`."""
        source, event_id = (
            urllib.parse.unquote(request.path_params[name]) for name in ("source", "id")
        )
        page = await self.reader.page(Query(limit=1, source=source, id=event_id), PART_BYTES)
        if not page.records:
            raise Problem(404, "no such event is kept")
        return StreamedAnswer(self.reader.parts(page.records), JSON, NO_STORE)

    async def remove(self, request: Request) -> ASGIApp:
        """`POST /api/removals`: remove an event, or all of an author, for good."""
        wanted = await self._body(request, _Remove)
        if bool(wanted.id) == bool(wanted.author):
            raise Problem(400, "name either the id of an event or an author")
        subject = wanted.id or wanted.author
        if not (wanted.source + subject + wanted.reason).isprintable():
            raise Problem(400, "source, id, author and reason may have no control characters")
        if wanted.id:
            query = Query(limit=1, source=wanted.source, id=wanted.id)
            if not (await self.reader.page(query, PART_BYTES)).records:
                raise Problem(404, "no such event is kept")
        data: dict[str, Any] = {"id": subject, "reason": wanted.reason}
        if wanted.author:
            data["author"] = {"id": subject}
        notice_id = f"{subject}.{secrets.token_hex(4)}{SUFFIX}"
        event = {
            "specversion": "1.0",
            "id": notice_id,
            "source": wanted.source,
            "type": BY_OPERATOR,
            "subject": subject,
            "time": rfc3339(time.time_ns() // 1_000_000),
            "data": data,
        }
        json = msgspec.json.encode(event)
        await self.writer.store_events(
            [Event(wanted.source, notice_id, BY_OPERATOR, subject, json, "")]
        )
        done = (await self.reader.run(lambda: self.store.removals(1)))[0]
        return json_answer(msgspec.to_builtins(done), headers=NO_STORE)

    async def removals(self, request: Request) -> ASGIApp:
        """`GET /api/removals`."""
        limit = _integer(request, "limit", 100, 0, MOST_REMOVALS)
        found = await self.reader.run(lambda: self.store.removals(limit))
        return json_answer({"removals": msgspec.to_builtins(found)}, headers=NO_STORE)

    async def pipelines(self, _request: Request) -> ASGIApp:
        """`GET /api/pipelines`."""
        found = await self.pipeline_statuses.read()
        return json_answer({"pipelines": found}, headers=NO_STORE)

    async def rejected(self, request: Request) -> ASGIApp:
        """`GET /api/rejected`."""
        limit = _integer(request, "limit", 100, 0, MAX_PAGE)
        first = await self._rejections(0, limit)

        async def parts() -> AsyncIterator[bytes]:
            found, offset = first, 0
            while found:
                lines = b",".join(msgspec.json.encode(one) for one in found)
                offset += len(found)
                yield (b"," if offset > len(found) else b'{"rejected":[') + lines
                found = await self._rejections(offset, limit)
            yield b"]}" if offset else b'{"rejected":[]}'

        return StreamedAnswer(parts(), JSON, NO_STORE)

    async def _rejections(self, offset: int, limit: int) -> list[Rejection]:
        """Return few enough to hold while the client reads them."""
        count = min(REJECTIONS, limit - offset)
        return await self.reader.run(lambda: self.store.rejected(count, offset))

    async def stats(self, _request: Request) -> ASGIApp:
        """`GET /api/stats`."""
        now = int(time.time() // 60)
        total, rejected, counted = await self.reader.run(
            lambda: (
                self.store.total(),
                self.store.rejected_total(),
                self.store.minutes(now - HOUR_MINUTES + 1),
            )
        )
        minutes = {one.minute: one for one in counted}
        return json_answer(
            {
                "total": total,
                "rejected": rejected,
                "minutes": [
                    {
                        "minute": rfc3339(minute * 60_000),
                        "accepted": one.accepted if one else 0,
                        "duplicates": one.duplicates if one else 0,
                        "rejected": one.rejected if one else 0,
                    }
                    for minute in range(now - HOUR_MINUTES + 1, now + 1)
                    for one in (minutes.get(minute),)
                ],
            },
            headers=NO_STORE,
        )

    async def replay(self, request: Request) -> ASGIApp:
        """`POST /api/replay`: send a kept event to a sink."""
        wanted = await self._body(request, _Replay)
        query = Query(limit=1, source=wanted.source, id=wanted.id)

        def send() -> tuple[str, int]:
            found = self.store.page(query).records
            if not found:
                raise Problem(404, "no such event is kept")
            return self.replayer.send(found[0].event, wanted.sink)

        sink, status = await asyncio.to_thread(send)
        return json_answer({"sink": sink, "status": status}, headers=NO_STORE)

    async def _body(self, request: Request, kind: type[T]) -> T:
        """Return the request's JSON body; its content type has to say so, which no form can."""
        media_type = header(request.scope["headers"], b"content-type").partition(b";")[0]
        if media_type.strip().lower() != b"application/json":
            raise Problem(415, "the content type has to be application/json")
        body = Body(self.room, MAX_BODY)
        try:
            return msgspec.json.decode(await body.read(request.receive), type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Problem(400, f"the body is not valid: {error}") from None
        finally:
            body.release()


class _Login(msgspec.Struct, forbid_unknown_fields=True):
    token: str


_Given = Annotated[str, msgspec.Meta(min_length=1)]


class _Replay(msgspec.Struct, forbid_unknown_fields=True):
    source: _Given
    id: _Given
    sink: str = ""


class _Remove(msgspec.Struct, forbid_unknown_fields=True):
    source: _Given
    id: str = ""
    author: str = ""
    reason: Annotated[str, msgspec.Meta(max_length=200)] = ""


def _query(request: Request) -> Query:
    parameters = request.query_params
    texts = {}
    for name in ("type", "source", "subject", "id", "text"):
        texts[name] = parameters.get(name, "")
        if len(texts[name]) > MAX_FILTER:
            raise Problem(400, f"{name} is longer than {MAX_FILTER} characters")
    since = parameters.get("since")
    return Query(
        limit=_integer(request, "limit", 100, 0, MAX_PAGE),
        cursor=_integer(request, "cursor", None, 1, MAX_SEQ),
        since=0 if since is None else _milliseconds(since),
        **texts,
    )


def _integer(request: Request, name: str, default: Any, low: int, high: int) -> Any:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and low <= int(text) <= high):
        shown = repr(text[:100])
        raise Problem(400, f"{name} has to be a whole number from {low} to {high}, not {shown}")
    return int(text)


def _milliseconds(text: str) -> int:
    try:
        moment = datetime.datetime.fromisoformat(text.upper())
        if moment.tzinfo is None:
            raise ValueError
        return int(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise Problem(
            400,
            "since has to be an RFC 3339 time, for example 2026-01-31T12:00:00Z,"
            f" not {text[:100]!r}",
        ) from None
