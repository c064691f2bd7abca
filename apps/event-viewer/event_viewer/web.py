"""The page and the API, all but the receiver and the stream."""

from __future__ import annotations

import datetime
import time
import urllib.parse
from typing import Annotated, Any, TypeVar

import msgspec
from flask import Flask, Response, request
from werkzeug.exceptions import BadRequest, HTTPException, NotFound, UnsupportedMediaType

from event_viewer import metrics
from event_viewer.access import READ, WRITE, Access
from event_viewer.replay import Replayer, ReplayError
from event_viewer.store.base import MAX_PAGE, Query, Store, StoreError, rfc3339

T = TypeVar("T")

SECURITY_HEADERS = {
    # Nothing runs or loads but the page's own files; an event's markup is only ever text.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
MAX_TEXT = 1000
MAX_SEQ = 2**62
HOUR_MINUTES = 60


def create_web(store: Store, access: Access, replayer: Replayer) -> Flask:
    """The Flask application; rights have been checked before a request gets here."""
    web = Flask(__name__)
    _add_pages(web, store, access, replayer)
    _add_events(web, store)
    _add_replay(web, store, replayer)

    @web.after_request
    def _secure(response: Response) -> Response:
        response.headers.update(SECURITY_HEADERS)
        if request.path.startswith("/api/"):
            response.headers["Cache-Control"] = "no-store"
        return response

    @web.errorhandler(HTTPException)
    def _problem(error: HTTPException) -> Response:
        response = _json({"error": error.description}, error.code or 500)
        if error.response is None:
            for name, value in error.get_headers():
                if name.lower() == "allow":
                    response.headers[name] = value
        return response

    @web.errorhandler(StoreError)
    def _store_trouble(error: StoreError) -> Response:
        return _json({"error": f"the history cannot be read: {error}"}, 503, {"Retry-After": "1"})

    return web


def _add_pages(web: Flask, store: Store, access: Access, replayer: Replayer) -> None:
    @web.get("/")
    def page() -> Response:
        response = web.send_static_file("index.html")
        response.headers["Cache-Control"] = "no-cache"
        return response

    @web.get("/api/openapi.json")
    def openapi() -> Response:
        return web.send_static_file("openapi.json")

    @web.get("/metrics")
    def show_metrics() -> Response:
        return Response(metrics.render(store.total()), content_type="text/plain; version=0.0.4")

    @web.get("/api/session")
    def session() -> Response:
        rights = request.environ["event_viewer.rights"]
        return _json(
            {
                "read": READ in rights,
                "write": WRITE in rights,
                "user": request.environ["event_viewer.user"],
                "replay": replayer.enabled and {READ, WRITE} <= rights,
                "sinks": [
                    sink for sink in (replayer.default, *replayer.allowed) if sink not in ("", "*")
                ],
                "any_sink": "*" in replayer.allowed,
            }
        )

    @web.post("/api/session")
    def log_in() -> Response:
        """Take a token; its session lives in a cookie no script can read."""
        body = _body(_Login)
        granted = [right for right in (READ, WRITE) if access.tokens[right].matches(body.token)]
        if not granted:
            return _json({"error": "that is not the token"}, 401)
        response = _json({"granted": granted})
        for right in granted:
            response.set_cookie(
                f"event-viewer-{right}",
                access.tokens[right].session(right),
                httponly=True,
                samesite="Strict",
                secure=request.is_secure or request.headers.get("X-Forwarded-Proto") == "https",
            )
        return response

    @web.delete("/api/session")
    def log_out() -> Response:
        response = Response(status=204)
        for right in (READ, WRITE):
            response.delete_cookie(f"event-viewer-{right}")
        return response


def _add_events(web: Flask, store: Store) -> None:
    @web.get("/api/events")
    def events() -> Response:
        query = _query()
        # The position comes first: what is stored after it is in the stream, perhaps here as well.
        position = f"{store.epoch}-{store.last()}"
        page = store.page(query) if query.limit else None
        head = {"total": store.total(), "next": page.next if page else None, "position": position}
        records = b",".join(record.to_json() for record in page.records) if page else b""
        return _raw_json(msgspec.json.encode(head)[:-1] + b',"events":[' + records + b"]}")

    @web.get("/api/events/<source>/<event_id>")
    def event(source: str, event_id: str) -> Response:
        found = store.page(Query(limit=1, source=_unquote(source), id=_unquote(event_id))).records
        if not found:
            raise NotFound("no such event is kept")
        return _raw_json(found[0].to_json())

    @web.get("/api/rejected")
    def rejected() -> Response:
        return _json({"rejected": store.rejected(_integer("limit", 100, 0, MAX_PAGE))})

    @web.get("/api/stats")
    def stats() -> Response:
        now = int(time.time() // 60)
        minutes = {one.minute: one for one in store.minutes(now - HOUR_MINUTES + 1)}
        return _json(
            {
                "total": store.total(),
                "rejected": store.rejected_total(),
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
            }
        )


def _add_replay(web: Flask, store: Store, replayer: Replayer) -> None:
    @web.post("/api/replay")
    def replay() -> Response:
        body = _body(_Replay)
        found = store.page(Query(limit=1, source=body.source, id=body.id)).records
        if not found:
            raise NotFound("no such event is kept")
        try:
            sink, status = replayer.send(found[0].event, body.sink)
        except ReplayError as error:
            return _json({"error": error.reason}, error.status)
        return _json({"sink": sink, "status": status})


class _Login(msgspec.Struct, forbid_unknown_fields=True):
    token: str


_Given = Annotated[str, msgspec.Meta(min_length=1)]


class _Replay(msgspec.Struct, forbid_unknown_fields=True):
    source: _Given
    id: _Given
    sink: str = ""


def _body(kind: type[T]) -> T:
    """The request's JSON body; its content type has to say so, which no HTML form can."""
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("the content type has to be application/json")
    try:
        return msgspec.json.decode(request.get_data(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not what is expected: {error}") from None


def _query() -> Query:
    texts = {}
    for name in ("type", "source", "subject", "id", "text"):
        texts[name] = request.args.get(name, "")
        if len(texts[name]) > MAX_TEXT:
            raise BadRequest(f"{name} is longer than {MAX_TEXT} characters")
    since = request.args.get("since")
    return Query(
        limit=_integer("limit", 100, 0, MAX_PAGE),
        cursor=_integer("cursor", None, 1, MAX_SEQ),
        since=0 if since is None else _milliseconds(since),
        **texts,
    )


def _integer(name: str, default: Any, low: int, high: int) -> Any:
    text = request.args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and low <= int(text) <= high):
        raise BadRequest(f"{name} has to be a whole number from {low} to {high}, not {text!r}")
    return int(text)


def _milliseconds(text: str) -> int:
    try:
        moment = datetime.datetime.fromisoformat(text.upper())
        if moment.tzinfo is None:
            raise ValueError
        return int(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise BadRequest(
            f"since has to be an RFC 3339 time, like 2026-01-31T12:00:00Z, not {text!r}"
        ) from None


def _unquote(segment: str) -> str:
    return urllib.parse.unquote(segment)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return _raw_json(msgspec.json.encode(value), status, headers)


def _raw_json(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, content_type="application/json")
