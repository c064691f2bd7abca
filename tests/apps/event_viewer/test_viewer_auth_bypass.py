"""Every path in every spelling, without a token: nothing protected is served, whatever it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast
from unittest.mock import Mock

import pytest
from apps.event_viewer.viewer_support import Start, Viewer
from starlette.routing import Route

from event_viewer.application import routes
from event_viewer.routes import Resource

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
#: What anybody gets with a 2xx, in the only spelling there is.
PUBLIC = {
    ("GET", "/"), ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"),
    ("GET", "/static/app.js"), ("GET", "/api/openapi.json"), ("GET", "/api/session"),
    ("DELETE", "/api/session"),
}  # fmt: skip
PUBLIC |= {("HEAD", path) for method, path in PUBLIC if method == "GET"}


def resources() -> dict[str, Resource]:
    """The application's own list of what it serves."""
    found = routes(*(cast(Any, Mock()) for _ in range(6)))
    return {
        route.path: route.app
        for route in found
        if isinstance(route, Route) and isinstance(route.app, Resource)
    }


def paths() -> list[str]:
    values = {"name": "app.js", "source": "%2Fs", "id": "1"}
    return [re.sub(r"\{(\w+)\}", lambda match: values[match[1]], path) for path in resources()]


def spellings(path: str) -> Iterator[str]:
    """Ways to write a path that some server, router or proxy takes for the same."""
    yield path
    for prefix in ("/", "//", "/.", "/./", "/x/..", "/x/../", "/%2e", "/%2f", "/;", "/%00", "/\\"):
        yield prefix + path
    yield from (path + end for end in ("/", "//", "/.", "/..", "/../x/..", ";a=b", "%2f", "%20"))
    yield from (path + end for end in ("%00", "?", "?x=//", "#", "%3f", ".json", "\\", "/%2e"))
    yield path.replace("/", "//")
    yield path.replace("/", "/./")
    yield path.replace("/", "\\")
    yield path.replace("/", "%2f")
    yield path.replace("/", "/%2e/")
    yield path.replace("/", "/x/%2e%2e/")
    yield path.replace("/", "%5c")
    yield "/static/.." + path
    yield "/static/%2e%2e" + path
    yield "/api/session/.." + path
    yield "/api/openapi.json/../.." + path
    yield "/healthz/%2e%2e" + path
    yield path.upper()
    yield path.title()
    yield path.replace("e", "%65").replace("s", "%73")
    yield "/" + "".join(f"%{ord(letter):02x}" for letter in path[1:])
    yield "/" + "".join(f"%25{ord(letter):02x}" for letter in path[1:])
    yield path.replace("/", "/\u200b".encode().decode("latin-1"))
    yield "http://viewer" + path
    yield "http://viewer/" + path
    yield "HTTP://user@VIEWER:80" + path
    yield "https://viewer/healthz?" + path
    yield path[1:]
    yield "*" + path


def statuses(viewer: Viewer, method: str, target: str) -> list[int]:
    """The status of one request, and of what else the viewer took it for."""
    head = f"{method} {target} HTTP/1.1\r\nHost: viewer\r\nConnection: close\r\n"
    body = "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    if method in ("GET", "HEAD", "OPTIONS", "TRACE", "DELETE"):
        body = "\r\n"
    answer = viewer.raw((head + body).encode("latin-1"))
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    from apps.event_viewer.viewer_support import running  # noqa: PLC0415 - as a fixture

    with running(tmp_path_factory.mktemp("closed")) as start:
        yield start(READ_TOKEN="reader", WRITE_TOKEN="writer", REPLAY_SINK="http://127.0.0.1:9/")


@pytest.mark.parametrize("path", paths())
def test_no_spelling_leads_around_the_tokens(closed: Viewer, path: str) -> None:
    for spelling in spellings(path):
        for method in METHODS if spelling == path else ("GET", "POST"):
            target = (
                re.sub(r"(?i)^https?://[^/]*", "", spelling).partition("?")[0].partition("#")[0]
            )
            for status in statuses(closed, method, spelling):
                served = status < 400
                assert not served or (method, target) in PUBLIC, (method, spelling, status)
                assert status < 500 or status == 501, (method, spelling, status)


def test_what_is_public_is_a_choice() -> None:
    """Nothing becomes public by a mistake in a path: each operation names its rights."""
    public = {
        (method, path)
        for path, resource in resources().items()
        for method, operation in resource.operations.items()
        if not operation.rights and method != "HEAD"
    }
    assert public == {
        ("GET", "/"), ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"),
        ("GET", "/static/{name}"), ("GET", "/api/openapi.json"), ("GET", "/api/session"),
        ("POST", "/api/session"), ("DELETE", "/api/session"),
    }  # fmt: skip


def test_nothing_else_is_served(start: Start) -> None:
    viewer = start()
    for path in ("/static", "/static/", "/static/../settings.py", "/static/%2e%2e/settings.py",
                 "/static/..%2fsettings.py", "/static//etc/passwd", "/api", "/api/", "/docs"):  # fmt: skip
        assert statuses(viewer, "GET", path) == [404], path


def test_every_answer_has_the_security_headers(start: Start) -> None:
    viewer = start(READ_TOKEN="reader", MAX_BODY_BYTES=1024)
    asked = {
        200: b"GET / HTTP/1.1\r\nHost: a\r\n",
        202: b"POST / HTTP/1.1\r\nHost: a\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\n"
        b"ce-type: t\r\nContent-Length: 0\r\n",
        400: b"GET / HTTP/1.1\r\n",
        401: b"GET /api/events HTTP/1.1\r\nHost: a\r\n",
        404: b"GET /nothing HTTP/1.1\r\nHost: a\r\n",
        405: b"PUT / HTTP/1.1\r\nHost: a\r\n",
        413: b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n"
        + b"x" * 2048 + b"\r\n0\r\n",
        415: b"POST /api/session HTTP/1.1\r\nHost: a\r\n",
        431: b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 200,
    }  # fmt: skip
    for status, request in asked.items():
        answer = viewer.raw(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + b"\r\n")
        head = answer.partition(b"\r\n\r\n")[0].lower()
        assert head.startswith(b"http/1.1 %d " % status), (status, answer)
        for name in (b"content-security-policy: default-src 'none'", b"x-content-type-options: nos",
                     b"referrer-policy: no-ref", b"cross-origin-opener-policy: same-origin",
                     b"cross-origin-resource-policy: same-origin"):  # fmt: skip
            assert b"\r\n" + name in head, (status, name)
    # What does not parse is answered by uvicorn itself.
    assert b"content-security-policy" in viewer.raw(b"\x00\x01 nonsense\r\n\r\n").lower()


@pytest.mark.parametrize(
    ("hosts", "version", "status"),
    [
        (b"", b"1.1", b"400"),
        (b"Host: a\r\nHost: a\r\n", b"1.1", b"400"),
        (b"Host: a\r\nhost: b\r\n", b"1.0", b"400"),
        (b"", b"1.0", b"200"),
        (b"Host: a\r\n", b"1.1", b"200"),
    ],
)
def test_one_host(closed: Viewer, hosts: bytes, version: bytes, status: bytes) -> None:
    request = b"GET /healthz HTTP/" + version + b"\r\n" + hosts + b"Connection: close\r\n\r\n"
    assert closed.raw(request).startswith(b"HTTP/1.1 " + status)
