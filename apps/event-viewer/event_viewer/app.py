"""The application of a worker process: receiver and stream here, everything else in Flask.

Events and streams are served on the event loop, which costs little for each and holds hundreds of
streams without a thread for each. All else goes to Flask, in a few threads, one whole request and
one whole answer at a time, so a slow client never holds a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from werkzeug.wrappers import Response

from event_viewer.access import READ, WRITE, Access, cross_site
from event_viewer.event_log import EventLog
from event_viewer.http import (
    Disconnected,
    Receive,
    Scope,
    Send,
    TooLarge,
    read_body,
    respond,
    respond_error,
)
from event_viewer.receiver import Receiver
from event_viewer.replay import Replayer
from event_viewer.settings import Settings
from event_viewer.store import open_store
from event_viewer.store.base import Store, StoreError
from event_viewer.stream import Hub
from event_viewer.web import create_web
from event_viewer.writer import Writer

log = logging.getLogger(__name__)

WEB_THREADS = 4
#: Largest body Flask's part takes (a replay names an event, a session a token).
MAX_WEB_BODY = 64 * 1024
MAINTAIN_SECONDS = 2.0
ALLOW = ((b"allow", b"GET, HEAD, OPTIONS, POST"),)
#: What is answered here besides `/`, and to which methods.
METHODS = {"/healthz": ("GET", "HEAD"), "/readyz": ("GET", "HEAD"), "/api/stream": ("GET",)}


class Application:
    """An ASGI application."""

    store: Store
    writer: Writer
    hub: Hub
    receiver: Receiver

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.access = Access(settings)
        self._threads = ThreadPoolExecutor(WEB_THREADS, thread_name_prefix="web")
        self._maintenance: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the application's start and end."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            with contextlib.suppress(Disconnected):
                await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        rights = self.access.rights(scope)
        if method not in ("GET", "HEAD", "OPTIONS") and cross_site(scope):
            await respond_error(send, 403, "another site's page may not do this")
            return
        if not _required(method, path) <= rights:
            await self._refuse(send, rights)
        elif path == "/" and method == "POST":
            await self.receiver(scope, receive, send)
        elif path == "/" and method not in ("GET", "HEAD"):
            await respond(send, 200 if method == "OPTIONS" else 405, headers=ALLOW)
        elif method not in METHODS.get(path, (method,)):
            allow = ", ".join(METHODS[path]).encode()
            await respond_error(send, 405, f"{path} can only be read", ((b"allow", allow),))
        elif path == "/api/stream":
            await self.hub(scope, receive, send)
        elif path == "/healthz":
            alive = self.writer.alive
            answer = b"ok\n" if alive else b"the writer has ended: start the viewer again\n"
            await respond(send, 200 if alive else 503, answer, "text/plain")
        elif path == "/readyz":
            trouble = await self.writer.healthy()
            text = f"the store cannot be written: {trouble}\n" if trouble else "ready\n"
            await respond(send, 503 if trouble else 200, text.encode(), "text/plain")
        else:
            await self._flask(scope, receive, send, rights)

    def may_post(self, scope: Scope) -> bool:
        """Whether an event may come from there."""
        return WRITE in self.access.rights(scope) and not cross_site(scope)

    async def _refuse(self, send: Send, rights: frozenset[str]) -> None:
        if rights - self.access.open:
            await respond_error(send, 403, "you may not do this")
        else:
            reason = "a token is needed: Authorization: Bearer …"
            await respond_error(send, 401, reason, ((b"www-authenticate", b"Bearer"),))

    async def _flask(
        self, scope: Scope, receive: Receive, send: Send, rights: frozenset[str]
    ) -> None:
        try:
            body = await read_body(receive, MAX_WEB_BODY)
        except TooLarge:
            await respond_error(send, 413, f"the body is larger than {MAX_WEB_BODY} bytes")
            return
        environ = _environ(scope, body)
        environ["event_viewer.rights"] = rights
        environ["event_viewer.user"] = self.access.user(scope)
        loop = asyncio.get_running_loop()
        status, headers, answer = await loop.run_in_executor(self._threads, self._call, environ)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _call(self, environ: dict[str, Any]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        response = Response.from_app(self.web, environ, buffered=True)
        headers = [
            (name.lower().encode(), value.encode("latin-1")) for name, value in response.headers
        ]
        return response.status_code, headers, response.get_data()

    # Start and end

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            try:
                if message["type"] == "lifespan.startup":
                    self._start()
                    await send({"type": "lifespan.startup.complete"})
                else:
                    await self._stop()
                    await send({"type": "lifespan.shutdown.complete"})
                    return
            except StoreError as error:
                await send({"type": f"{message['type']}.failed", "message": str(error)})
                return

    def _start(self) -> None:
        settings = self.settings
        self.store = open_store(settings)
        self.hub = Hub(self.store, settings.max_streams)
        self.writer = Writer(
            self.store,
            EventLog(settings),
            settings.max_pending,
            settings.store_timeout,
            self.hub.notify,
        )
        self.receiver = Receiver(settings, self.writer)
        self.web = create_web(self.store, self.access, Replayer(settings))
        self._maintenance = asyncio.create_task(self._maintain(), name="maintenance")

    async def _maintain(self) -> None:
        while True:
            await asyncio.sleep(MAINTAIN_SECONDS)
            try:
                await asyncio.to_thread(self.store.maintain)
            except StoreError as error:
                log.debug("maintenance has to wait: %s", error)

    def end_streams(self) -> None:
        """Let go of the streams, so a stop need not wait for them."""
        self.hub.close()

    async def _stop(self) -> None:
        if self._maintenance:
            self._maintenance.cancel()
        await self.writer.stop()
        self._threads.shutdown(wait=False)
        self.store.close()


def _required(method: str, path: str) -> set[str]:
    """The rights a request needs."""
    if path == "/":
        return {WRITE} if method == "POST" else set()
    if path == "/api/replay":
        return {READ, WRITE}
    if path.startswith("/api/") and path not in ("/api/session", "/api/openapi.json"):
        return {READ}
    return set()


def _environ(scope: Scope, body: bytes) -> dict[str, Any]:
    """The WSGI environment of a request (PEP 3333)."""
    path = scope["path"]
    if path.startswith("/api/events/"):
        # Source and id hold slashes: they stay percent-encoded until the route has split them.
        path = scope["raw_path"].decode("latin-1")
    server = scope.get("server") or ("localhost", 80)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": path.encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": str(server[0]),
        "SERVER_PORT": str(server[1] or 0),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": str((scope.get("client") or ("",))[0]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    environ["CONTENT_LENGTH"] = str(len(body))
    return environ
