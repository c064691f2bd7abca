"""The gateway, in place of Envoy: routes requests by host to revisions, round robin.

Started as Envoy is, with a bootstrap file that names the control plane to ask. Speaks HTTP/1.1
without TLS; answers stream.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from pathlib import Path

import aiohttp
import orjson
import yaml
from aiohttp import web

from streamops_sandbox import grpc
from streamops_sandbox.knative.process import Process
from streamops_sandbox.knative.transport import forward
from streamops_sandbox.node.context import ContainerContext
from streamops_sandbox.objects import Object

#: The gRPC method that streams snapshots, which Envoy's aggregated discovery has in the real one.
SNAPSHOTS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
_EXTERNAL, _INTERNAL, _PROBE = 8080, 8081, 8090
_READY_HOST = "internalkourier"
_RETRY_SECONDS = 0.5
_WAIT_SECONDS = 9.0


async def main(ctx: ContainerContext) -> int:
    """Run the gateway."""
    async with Process(ctx, api=False) as process:
        host, port = _control_plane(ctx)
        gateway = Gateway(process)
        await process.listen(_PROBE, gateway.serves)
        await process.listen(_EXTERNAL, gateway.external)
        await process.listen(_INTERNAL, gateway.internal)
        return await process.run(gateway.follow(host, port))


def _control_plane(ctx: ContainerContext) -> tuple[str, int]:
    """Read the control plane's address from the bootstrap file, Envoy's `-c`."""
    arguments = [part for argument in ctx.args for part in argument.split()]
    file = Path(ctx.root, arguments[arguments.index("-c") + 1].lstrip("/"))
    clusters = yaml.safe_load(file.read_text())["static_resources"]["clusters"]
    cluster = next(item for item in clusters if item["name"] == "xds_cluster")
    endpoints = cluster["load_assignment"]["endpoints"]["lb_endpoints"]
    first = endpoints[0] if isinstance(endpoints, list) else endpoints
    address = first["endpoint"]["address"]["socket_address"]
    return str(address["address"]), int(address["port_value"])


class Gateway:
    """Serves the newest snapshot of the control plane; keeps it when that goes away."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._snapshot: Object = {"version": 0, "external": {}, "internal": {}, "backends": {}}
        self._arrived = asyncio.Condition()
        self._turn = itertools.count()

    async def follow(self, host: str, port: int) -> None:
        """Take snapshots from the control plane until cancelled."""
        while True:
            found = self._process.ctx.resolve(host, port)
            try:
                if found is not None:
                    async for message in grpc.call(*found, SNAPSHOTS, b"{}"):
                        async with self._arrived:
                            self._snapshot = orjson.loads(message)
                            self._arrived.notify_all()
            except (grpc.GrpcError, OSError) as error:
                self._process.ctx.log(f"control plane {host}:{port}: {error}")
            await asyncio.sleep(_RETRY_SECONDS)

    async def serves(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer on the probe listener once the version asked for is being served."""
        wanted = int(request.query.get("version", "1"))
        try:
            async with asyncio.timeout(_WAIT_SECONDS), self._arrived:
                await self._arrived.wait_for(lambda: self._snapshot["version"] >= wanted)
        except TimeoutError:
            return web.Response(status=503)
        return web.Response(text="ready\n")

    async def external(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer on the listener for the outside."""
        return await self._route(request, self._snapshot["external"])

    async def internal(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer on the listener for the cluster, the kubelet's probes included."""
        if request.host == _READY_HOST and request.path == "/ready":
            return web.Response(status=200 if self._snapshot["version"] else 503)
        return await self._route(request, self._snapshot["internal"])

    async def _route(self, request: web.BaseRequest, hosts: Object) -> web.StreamResponse:
        route = hosts.get(request.url.host or "")
        if route is None:
            return web.Response(status=404)
        addresses = self._snapshot["backends"][route["backend"]]
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
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            text = f"upstream connect error or disconnect/reset before headers: {error}"
            return web.Response(status=503, text=text)
