"""cmd/queue: limits the requests to the user's container and probes it."""

from __future__ import annotations

import asyncio
import json

import aiohttp
from aiohttp import web

from streamops_sandbox import grpc
from streamops_sandbox.knative.process import CONNECTION_ERRORS, Process, healthy
from streamops_sandbox.knative.serving import names
from streamops_sandbox.knative.transport import forward
from streamops_sandbox.node.context import ContainerContext

_PROBE_INTERVAL = 0.05
_PROBE_SECONDS = 0.9  # within the kubelet's default timeout of a second
_QUEUE_DEPTH = 10  # waiting requests per slot, as upstream
_DRAIN_SECONDS = 30.0
#: Headers for activator and queue-proxy, not for the user's container.
_DROPPED = frozenset(
    name.lower()
    for name in (
        names.PROBE_HEADER,
        names.REVISION_HEADER,
        names.NAMESPACE_HEADER,
        "K-Proxy-Request",
    )
)


async def main(ctx: ContainerContext) -> int:
    """Run the queue-proxy."""
    async with Process(ctx, api=False) as process:
        proxy = QueueProxy(process)
        await process.listen(names.QUEUE_PORT, proxy.answer)
        await process.listen(names.QUEUE_ADMIN_PORT, proxy.admin)
        return await process.run()


class QueueProxy:
    """The requests of one pod."""

    def __init__(self, process: Process) -> None:
        env = process.ctx.env
        self._process = process
        self._target = f"{process.ctx.pod_ip}:{env['USER_PORT']}"
        self._timeout = float(env["REVISION_TIMEOUT_SECONDS"])
        self._probe = json.loads(env["SERVING_READINESS_PROBE"])
        limit = int(env["CONTAINER_CONCURRENCY"])
        self._slots = asyncio.Semaphore(limit) if limit else None
        self._room = limit * (1 + _QUEUE_DEPTH)
        self._inside = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a probe or pass a request to the user's container."""
        probe = request.headers.get(names.PROBE_HEADER)
        if probe is not None:
            if probe not in ("queue", "probe"):
                return web.Response(status=400, text=f"unexpected probe header value: {probe}\n")
            ready = await self._healthy()
            return web.Response(status=200 if ready else 503, text="queue" if ready else "")
        if self._slots is not None and self._inside >= self._room:
            return web.Response(status=503, text="pending request queue full\n")
        return await self._enter(request)

    async def admin(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve the preStop hook: wait until the last request has been answered."""
        if request.path == "/wait-for-drain":
            try:
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await self._idle.wait()
            except TimeoutError:
                return web.Response(status=503)
        return await healthy(request)

    async def _enter(self, request: web.BaseRequest) -> web.StreamResponse:
        self._inside += 1
        self._idle.clear()
        try:
            if self._slots is None:
                return await self._forward(request)
            async with self._slots:
                return await self._forward(request)
        finally:
            self._inside -= 1
            if not self._inside:
                self._idle.set()

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        self._process.count("queue_requests_total")
        try:
            async with asyncio.timeout(self._timeout):
                return await forward(request, self._process.transport, self._target, drop=_DROPPED)
        except TimeoutError:
            return web.Response(status=504, text="request timeout\n")
        except (aiohttp.ClientError, OSError) as error:
            self._process.ctx.log(f"error reverse proxying request: {error}")
            return web.Response(status=502, text=f"{error}\n")

    async def _healthy(self) -> bool:
        """Ask the user's container as its readiness probe says, again and again for a moment."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                while not await self._ask():  # noqa: ASYNC110 - there is no event to wait for
                    await asyncio.sleep(_PROBE_INTERVAL)
        except TimeoutError:
            return False
        return True

    async def _ask(self) -> bool:
        host = self._process.ctx.pod_ip
        try:
            if "httpGet" in self._probe:
                return await self._get(self._probe["httpGet"])
            if "grpc" in self._probe:
                probe = self._probe["grpc"]
                return await grpc.health_check(host, probe["port"], probe.get("service") or "")
            port = (self._probe.get("tcpSocket") or {}).get("port") or self._target.rpartition(":")[
                2
            ]
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
        except CONNECTION_ERRORS:
            return False
        return True

    async def _get(self, probe: dict[str, object]) -> bool:
        path = str(probe.get("path") or "/")
        url = f"http://{self._process.ctx.pod_ip}:{probe['port']}/{path.removeprefix('/')}"
        headers = {"User-Agent": "kube-probe/1.36"}
        for header in probe.get("httpHeaders") or []:  # type: ignore[attr-defined] # JSON
            headers[header["name"]] = header["value"]
        async with self._process.transport.request("GET", url, headers=headers) as answer:
            return 200 <= answer.status < 400
