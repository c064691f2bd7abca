"""What tests and trials do to the stand-in: publish, delete, break, watch the bill."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from aiohttp import web

from streamops_sandbox.x import parameters
from streamops_sandbox.x.auth import AppKeys
from streamops_sandbox.x.endpoints import X


class Control:
    """The control interface: JSON over HTTP, on the sandbox's control socket only."""

    def __init__(self, x: X) -> None:
        self._x = x

    def application(self) -> web.Application:
        """Return the application that serves it."""
        app = web.Application()
        app.router.add_get("/", self.show)
        app.router.add_get("/requests", self.requests)
        app.router.add_post("/posts", self.publish)
        app.router.add_delete("/posts/{id}", self.delete)
        app.router.add_post("/faults", self.add_fault)
        app.router.add_delete("/faults", self.clear_faults)
        app.router.add_put("/credits", self.set_credits)
        app.router.add_put("/fields", self.set_spelling)
        app.router.add_put("/limits", self.set_limits)
        app.router.add_put("/clock", self.set_clock)
        app.router.add_post("/keys", self.renew_keys)
        app.router.add_post("/disconnect", self.disconnect)
        return app

    async def show(self, _request: web.Request) -> web.Response:
        """Number of posts, the bill, whether a stream is open, faults still to come."""
        body = {
            "posts": len(self._x.posts),
            "bill": self._x.bill.report(),
            "stream": self._x.stream.connected,
            "faults": sum(fault.count for fault in self._x.faults.waiting),
        }
        return web.json_response(body)

    async def requests(self, _request: web.Request) -> web.Response:
        """List the last 1,000 requests to X's own paths."""
        return web.json_response(list(self._x.requests))

    async def publish(self, request: web.Request) -> web.Response:
        """Publish posts: a list of X's JSON; a post without id gets one. Answers with the ids."""
        entries = await _body(request, list)
        matches_all = request.query.get("matching") == "all"
        posts = [self._x.publish(entry, matches_all=matches_all) for entry in entries]
        return web.json_response([str(post.id) for post in posts])

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a post."""
        text = request.match_info["id"]
        if not text.isdecimal() or not self._x.posts.delete(int(text)):
            raise web.HTTPNotFound(text="there is no such post\n")
        return web.json_response({})

    async def add_fault(self, request: web.Request) -> web.Response:
        """Let one of the next requests fail; see faults.Fault."""
        try:
            self._x.faults.add(await _body(request, dict))
        except (TypeError, ValueError) as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from error
        return web.json_response({})

    async def clear_faults(self, _request: web.Request) -> web.Response:
        """Let no more requests fail."""
        self._x.faults.waiting.clear()
        return web.json_response({})

    async def set_credits(self, request: web.Request) -> web.Response:
        """Set the account's credits in dollars; null: as many as wanted."""
        self._x.bill.credits = (await _body(request, dict)).get("dollars")
        return web.json_response(self._x.bill.report())

    async def set_spelling(self, request: web.Request) -> web.Response:
        """Take only one name for the fields of posts: {"spelling": "tweet.fields"}."""
        spelling = (await _body(request, dict)).get("spelling")
        if spelling not in parameters.POST_FIELDS:
            raise web.HTTPBadRequest(text=f"one of {', '.join(parameters.POST_FIELDS)}\n")
        self._x.field_names = (spelling,)
        return web.json_response({})

    async def set_limits(self, request: web.Request) -> web.Response:
        """Set rate limits, {"search/user": 3}, and start their periods anew."""
        for name, limit in (await _body(request, dict)).items():
            endpoint, _, kind = name.partition("/")
            if (endpoint, kind) not in self._x.limits.limits:
                raise web.HTTPBadRequest(text=f"there is no limit {name}\n")
            self._x.limits.limits[endpoint, kind] = int(limit)
        self._x.limits.forget()
        return web.json_response({})

    async def set_clock(self, request: web.Request) -> web.Response:
        """Set X's clock ahead of this machine's: {"ahead_seconds": 3600}."""
        self._x.ahead = timedelta(seconds=float((await _body(request, dict))["ahead_seconds"]))
        return web.json_response({"now": self._x.now().isoformat()})

    async def renew_keys(self, request: web.Request) -> web.Response:
        """Revoke the keys; new ones are written to the file, and answered."""
        keys_file = self._x.keys_file
        keys_file.unlink(missing_ok=True)
        self._x.authenticator.keys = AppKeys.at(keys_file)
        return web.json_response({})

    async def disconnect(self, _request: web.Request) -> web.Response:
        """Close the stream from X's side."""
        self._x.stream.disconnect()
        return web.json_response({})


async def _body(request: web.Request, kind: type) -> Any:
    try:
        body = await request.json()
    except ValueError as error:
        raise web.HTTPBadRequest(text="the body is no JSON\n") from error
    if not isinstance(body, kind):
        raise web.HTTPBadRequest(text=f"the body is no JSON {kind.__name__}\n")
    return body
