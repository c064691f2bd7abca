"""Data planes that start and answer probes, but whose work the sandbox does not do."""

from __future__ import annotations

from aiohttp import web

from streamops_sandbox.knative.process import Process, is_probe
from streamops_sandbox.node.context import ContainerContext

_PATHS = ("/healthz", "/readyz")


async def job_sink(ctx: ContainerContext) -> int:
    """Run cmd/jobsink: 501 for every event."""
    return await _run(ctx, int(ctx.env["INGRESS_PORT"]))


async def request_reply(ctx: ContainerContext) -> int:
    """Run cmd/requestreply: 501 for every event."""
    return await _run(ctx, int(ctx.env["HTTP_PORT"]))


async def ping_adapter(ctx: ContainerContext) -> int:
    """Run cmd/mtping: PingSources are not modelled, so that its Deployment has no pods."""
    return await _run(ctx, 8080)


async def activator(ctx: ContainerContext) -> int:
    """Run cmd/activator: Revisions always have pods here, so that no request comes."""
    return await _run(ctx, 8012)


async def _run(ctx: ContainerContext, port: int) -> int:
    async with Process(ctx, api=False) as process:
        await process.listen(port, _answer)
        return await process.run()


async def _answer(request: web.BaseRequest) -> web.StreamResponse:
    if is_probe(request) or (request.path in _PATHS and request.method == "GET"):
        return web.Response()
    return web.Response(status=501, text="not modelled by the sandbox\n")
