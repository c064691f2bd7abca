"""The control interfaces of all parts, on one Unix socket in the sandbox's folder.

They hand out credentials and break things on purpose, so they are not on the network: the socket
has mode 0600 and lies in a folder of mode 0700. `curl --unix-socket HOME/control.sock
http://sandbox/x/posts` is a request; the first part of the path names the part of the sandbox.
"""

from __future__ import annotations

import http.client
import inspect
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from streamops_sandbox.home import Home

#: Where an application keeps the one that controls it.
CONTROL = web.AppKey("control", web.Application)
#: What may be published in one request.
_MAX_BODY_BYTES = 64 << 20
_SHUTDOWN_SECONDS = 1.0


def application(routes: Mapping[str, Callable[..., Any]]) -> web.Application:
    """Return an application of functions by `METHOD /path`.

    Each is called with the request's JSON (None without any) and, by their names, what the path and
    the query hold; it returns what is answered as JSON (None: {}), or a coroutine for that. A
    KeyError, TypeError or ValueError is answered 400.
    """
    app = web.Application(client_max_size=_MAX_BODY_BYTES)
    for route, function in routes.items():
        method, path = route.split()
        app.router.add_route(method, path, _handler(function))
    return app


def _handler(function: Callable[..., Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        text = await request.text()
        try:
            body = json.loads(text) if text else None
            answer = function(body, **request.match_info, **request.query)
            if inspect.isawaitable(answer):
                answer = await answer
        except (KeyError, TypeError, ValueError) as error:
            text = str(error) if isinstance(error, ValueError) else repr(error)
            return web.json_response({"error": text}, status=400)
        return web.json_response({} if answer is None else answer)

    return handle


async def serve(app: web.Application, home: Home) -> web.AppRunner:
    """Serve a control application until the runner is cleaned up, which removes the socket."""
    home.make()
    home.socket.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    with home.short(home.socket) as address:
        listener.bind(address)
    home.socket.chmod(0o600)

    async def remove(_: web.Application) -> None:
        home.socket.unlink(missing_ok=True)

    app.on_cleanup.append(remove)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    return runner


def call(
    home: Home, method: str, path: str, body: object = None, *, seconds: float = 30.0
) -> tuple[int, Any]:
    """Send a request to the control socket; returns the status and the decoded answer.

    Raises OSError or http.client.HTTPException where nothing answers.
    """
    connection = http.client.HTTPConnection("sandbox", timeout=seconds)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(seconds)
    try:
        with home.short(home.socket) as address:
            connection.sock.connect(address)
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    try:
        return response.status, json.loads(content)
    except ValueError:
        return response.status, content.decode(errors="replace")
