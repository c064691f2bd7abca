"""The networks as one application: their paths do not meet."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from streamops_sandbox import control_socket
from streamops_sandbox.networks.feeds import Feeds
from streamops_sandbox.networks.jetstream import Jetstream
from streamops_sandbox.networks.mastodon import Mastodon
from streamops_sandbox.request_guard import guard
from streamops_sandbox.x.faults import Faults
from streamops_sandbox.x.posts import OWN_POSTS, Script
from streamops_sandbox.x.problems import Problem

_EVERY_SECONDS = 10.0


def create_app(*, home: Path, base_url: str, publishing: bool = True) -> web.Application:
    """Return the application, with its control interface at [CONTROL].

    Jetstream is at `/subscribe`, Mastodon at `/api/…`, feeds at `/feeds/NAME.{rss,atom,json}`.
    Mastodon's token is read from `home`/mastodon-token, and made there if there is none.
    `publishing`: a post of the sandbox's own appears in each of them every few seconds.
    """
    faults = Faults()

    @web.middleware
    async def failing(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await faults.serve(request, handler)
        except Problem as problem:
            body = {"error": str(problem)}
            return web.json_response(body, status=problem.status, headers=problem.headers)

    app = web.Application(middlewares=[guard(), failing], client_max_size=16 << 20)
    jetstream, mastodon, feeds = Jetstream(), Mastodon(home, base_url), Feeds(base_url)
    controls = faults.controls()
    for network in (jetstream, mastodon, feeds):
        network.add_to(app, controls)
    app[control_socket.CONTROL] = control_socket.application(controls)

    async def publish(_app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(_publish(jetstream, mastodon, feeds))
        yield
        task.cancel()

    if publishing:
        app.cleanup_ctx.append(publish)
    return app


async def _publish(jetstream: Jetstream, mastodon: Mastodon, feeds: Feeds) -> None:
    """Publish the sandbox's posts over and over."""
    for number, post in enumerate(itertools.cycle(Script.load(OWN_POSTS).data)):
        entry = {"text": post["text"], "lang": post.get("lang", "en")}
        jetstream.publish(entry)
        mastodon.publish(entry)
        feeds.publish("knative", entry)
        if number >= 12:  # the first ones are there at once
            await asyncio.sleep(_EVERY_SECONDS)
