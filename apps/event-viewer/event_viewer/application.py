"""The ASGI application of a worker process: its parts, and which path leads to which of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from a2wsgi import WSGIMiddleware
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from event_viewer.api import Api
from event_viewer.auth import PUBLIC, READ, READ_WRITE, WRITE, Auth
from event_viewer.event_log import EventLog
from event_viewer.http import Answer, Room
from event_viewer.page import create_page
from event_viewer.pipelines import Pipelines
from event_viewer.reading import Reader
from event_viewer.receiver import Receiver, permit_delivery
from event_viewer.replay import Replayer
from event_viewer.routes import Operation, Resource, answering, not_found
from event_viewer.settings import Settings
from event_viewer.store import open_store
from event_viewer.store.interface import StoreError
from event_viewer.stream import Hub
from event_viewer.writer import Writer

log = logging.getLogger(__name__)

MAINTAIN_SECONDS = 2.0


class Application:
    """ASGI application."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.router = Router(
            default=not_found, redirect_slashes=False, lifespan=lambda _: self._lifespan()
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the application's life."""
        if scope["type"] == "http":
            # Each path has one spelling, so nothing can be reached by another one; and a source or
            # an id in it may hold slashes, which stay encoded until the route has split them.
            path = scope["path"] = scope["raw_path"].decode("ascii")
            if path == "/":
                # Routing would be a tenth of what an event costs.
                await self.root(scope, receive, send)
                return
        await self.router(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[None]:
        settings = self.settings
        try:
            self.store = open_store(settings)
        except StoreError as error:
            log.error("%s", error)
            raise
        reader = Reader(self.store, settings.search_timeout_seconds)
        self.hub = Hub(reader, settings.max_streams)
        room = Room(settings.max_pending_bytes)
        self.writer = Writer(
            self.store,
            EventLog(settings),
            room,
            settings.store_timeout_seconds,
            self.hub.notify,
        )
        auth = Auth(settings)
        api = Api(reader, self.writer, auth, Replayer(settings), room, Pipelines(settings))
        receiver = Receiver(settings, self.writer)
        served = routes(auth, api, self.hub, receiver, self.healthz, self.readyz)
        self.router.routes = [*served]
        self.root = next(route.app for route in served if route.path == "/")
        maintenance = asyncio.create_task(self._maintain(), name="maintenance")
        try:
            yield
        finally:
            maintenance.cancel()
            await self.writer.stop()
            reader.close()
            self.store.close()

    async def healthz(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /healthz`."""
        text = b"ok\n" if self.writer.alive else b"the writer has ended: restart the viewer\n"
        status = 200 if self.writer.alive else 503
        await Answer(status, text, "text/plain")(scope, receive, send)

    async def readyz(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /readyz`."""
        trouble = await self.writer.healthy()
        text = f"the store cannot be written: {trouble}\n" if trouble else "ready\n"
        status = 503 if trouble else 200
        await Answer(status, text.encode(), "text/plain")(scope, receive, send)

    async def _maintain(self) -> None:
        while True:
            await asyncio.sleep(MAINTAIN_SECONDS)
            try:
                await asyncio.to_thread(self.store.maintain)
            except StoreError as error:
                log.debug("maintenance is postponed: %s", error)
            except Exception:
                log.exception("maintenance failed")

    def end_streams(self) -> None:
        """End the streams, so that a shutdown need not wait for their clients."""
        self.hub.close()


def routes(
    auth: Auth, api: Api, hub: ASGIApp, receiver: ASGIApp, healthz: ASGIApp, readyz: ASGIApp
) -> list[Route]:
    """Return every path that is served, with the rights its operations need."""

    # Its types of WSGI and ASGI are its own.
    page: Any = WSGIMiddleware(cast(Any, create_page()), workers=2)

    def resource(path: str, **operations: Operation) -> Route:
        return Route(path, Resource(auth, **operations))

    return [
        resource(
            "/",
            POST=Operation(WRITE, receiver),
            GET=Operation(PUBLIC, page),
            OPTIONS=Operation(WRITE, permit_delivery),
        ),
        resource("/healthz", GET=Operation(PUBLIC, healthz)),
        resource("/readyz", GET=Operation(PUBLIC, readyz)),
        resource("/metrics", GET=Operation(PUBLIC, answering(api.metrics))),
        resource("/static/{name}", GET=Operation(PUBLIC, page)),
        resource("/api/openapi.json", GET=Operation(PUBLIC, page)),
        resource(
            "/api/session",
            GET=Operation(PUBLIC, answering(api.session)),
            POST=Operation(PUBLIC, answering(api.log_in)),
            DELETE=Operation(PUBLIC, answering(api.log_out)),
        ),
        resource("/api/events", GET=Operation(READ, answering(api.events))),
        resource("/api/events/{source}/{id}", GET=Operation(READ, answering(api.event))),
        resource("/api/rejected", GET=Operation(READ, answering(api.rejected))),
        resource(
            "/api/removals",
            GET=Operation(READ, answering(api.removals)),
            POST=Operation(READ_WRITE, answering(api.remove)),
        ),
        resource("/api/pipelines", GET=Operation(READ, answering(api.pipelines))),
        resource("/api/stats", GET=Operation(READ, answering(api.stats))),
        resource("/api/stream", GET=Operation(READ, hub, head=False)),
        resource("/api/replay", POST=Operation(READ_WRITE, answering(api.replay))),
    ]
