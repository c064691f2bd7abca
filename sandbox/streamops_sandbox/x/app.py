"""X's stand-in as an application: its endpoints, and what all of its answers have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from streamops_sandbox.control_socket import CONTROL
from streamops_sandbox.request_guard import guard
from streamops_sandbox.x import control
from streamops_sandbox.x.endpoints import X
from streamops_sandbox.x.problems import Problem

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _as_x_answers(x: X) -> Any:
    """Return the middleware that adds what all of X's answers have in common."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        entry: dict[str, Any] = {"method": request.method, "url": str(request.rel_url)}
        if request.content_type == "application/json" and request.can_read_body:
            with contextlib.suppress(ValueError):
                entry["body"] = await request.json()
        x.requests.append(entry)
        try:
            response = await x.faults.serve(request, handler)
        except Problem as problem:
            response = problem.response()
        entry["status"] = response.status
        if not response.prepared:
            response.headers["Date"] = format_datetime(x.now(), usegmt=True)
            response.headers["api-version"] = "2.167"
        return response

    return middleware


def create_app(*, home: Path, base_url: str, posts: Path | None) -> web.Application:
    """Return the application, with its control interface at [CONTROL].

    `posts` is a file of posts to serve instead of the stand-in's own. The keys are read from
    `home`/x-keys.json, and made there if there are none. Raises posts.PostsError for a file that
    holds no posts.
    """
    x = X(home, base_url, posts)
    app = web.Application(
        middlewares=[guard(".x.com", ".twitter.com"), _as_x_answers(x)], client_max_size=16 << 20
    )
    app.router.add_get("/2/tweets/search/recent", x.search)
    app.router.add_get("/2/tweets/search/stream", x.open_stream)
    app.router.add_get("/2/tweets/search/stream/rules", x.list_rules)
    app.router.add_post("/2/tweets/search/stream/rules", x.change_rules)
    app.router.add_post("/2/compliance/jobs", x.create_job)
    app.router.add_get("/2/compliance/jobs/{id}", x.show_job)
    app.router.add_put("/storage/compliance/{id}/submission", x.compliance.upload)
    app.router.add_get("/storage/compliance/{id}/delivery", x.compliance.download)
    app.router.add_post("/oauth2/token", x.token)
    app[CONTROL] = control.application(x)
    app.router.add_route("*", "/{path:.*}", x.missing)

    async def close_stream(_app: web.Application) -> None:
        x.stream.disconnect()

    app.on_shutdown.append(close_stream)
    return app
