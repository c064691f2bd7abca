"""The gateway, in place of Envoy: routes requests by host to revisions, round robin.

The controller sends it the routes (`controller.py`). Speaks HTTP/1.1 without TLS; answers stream.
"""

from __future__ import annotations

import hmac
import itertools
import uuid

import orjson
from aiohttp import web

from streamops_sandbox.knative.process import CONNECTION_ERRORS, Process
from streamops_sandbox.knative.transport import forward
from streamops_sandbox.node.context import ContainerContext
from streamops_sandbox.objects import Object

#: Where the controller sends the routes; upstream's is for probes.
ROUTES_PORT = 8090
_EXTERNAL, _INTERNAL = 8080, 8081
_READY_HOST = "internalkourier"


async def main(ctx: ContainerContext) -> int:
    """Run the gateway."""
    async with Process(ctx, api=False) as process:
        gateway = Gateway(process)
        await process.listen(ROUTES_PORT, gateway.take_routes)
        await process.listen(_EXTERNAL, gateway.external)
        await process.listen(_INTERNAL, gateway.internal)
        return await process.run()


class Gateway:
    """Serves the routes that it was sent last; keeps them while the controller is away."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._routes: Object = {}
        self._turn = itertools.count()

    async def take_routes(self, request: web.BaseRequest) -> web.StreamResponse:
        """Take all routes anew, from who knows the pod's uid, as only users of the API do."""
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {self._process.ctx.pod_uid}".encode()):
            return web.Response(status=401)
        self._routes = orjson.loads(await request.content.read())
        return web.Response()

    async def external(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer on the listener for the outside."""
        return await self._route(request, "external")

    async def internal(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer on the listener for the cluster, the kubelet's probes included."""
        if request.host == _READY_HOST and request.path == "/ready":
            return web.Response(status=200 if self._routes else 503)
        return await self._route(request, "internal")

    async def _route(self, request: web.BaseRequest, listener: str) -> web.StreamResponse:
        route = self._routes.get(listener, {}).get(request.url.host or "")
        if route is None:
            return web.Response(status=404)
        addresses = route["addresses"]
        if not addresses:
            return web.Response(status=503, text="no healthy upstream")
        address = addresses[next(self._turn) % len(addresses)]
        headers = {
            **route["headers"],
            "X-Forwarded-For": request.remote or "",
            "X-Forwarded-Proto": "http",
            "X-Request-Id": request.headers.get("X-Request-Id") or str(uuid.uuid4()),
        }
        try:
            return await forward(request, self._process.transport, address, headers)
        except CONNECTION_ERRORS as error:
            text = f"upstream connect error or disconnect/reset before headers: {error}"
            return web.Response(status=503, text=text)
