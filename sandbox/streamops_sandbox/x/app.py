"""X's stand-in as an application: its endpoints, and what all of its answers have in common."""

from __future__ import annotations

import contextlib
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from streamops_sandbox.control_socket import CONTROL
from streamops_sandbox.request_guard import guard
from streamops_sandbox.x import control
from streamops_sandbox.x.endpoints import X
from streamops_sandbox.x.problems import Problem


def create_app(*, home: Path, base_url: str, posts: Path | None) -> web.Application:
    """Return the application, with its control interface at [CONTROL].

    `posts` is a file of posts to serve instead of the stand-in's own. The keys are read from
    `home`/x-keys.json, and made there if there are none. Raises posts.PostsError for a file that
    holds no posts.
    """
    x = X(home, base_url, posts)

    @web.middleware
    async def answering(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Add what all of X's answers have in common."""
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

    async def close_stream(_app: web.Application) -> None:
        x.stream.disconnect()

    guarded = guard(".x.com", ".twitter.com")
    app = web.Application(middlewares=[guarded, answering], client_max_size=16 << 20)
    app.add_routes(x.routes())
    app[CONTROL] = control.application(x)
    app.on_shutdown.append(close_stream)
    return app
