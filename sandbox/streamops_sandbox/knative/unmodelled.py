"""Programs and kinds that are there, but whose work the sandbox does not do: they say so."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any

from aiohttp import web

from streamops_sandbox.client import Client
from streamops_sandbox.knative.admission import Request, Webhook, WebhookServer
from streamops_sandbox.knative.conditions import Conditions
from streamops_sandbox.knative.process import Process, is_probe
from streamops_sandbox.knative.reconciler import Reconciler
from streamops_sandbox.node.context import ContainerContext
from streamops_sandbox.objects import Object

_HEALTH_PATHS = ("/healthz", "/readyz", "/readiness")


class Unmodelled(Reconciler):
    """Marks every object of its kind not Ready, reason `NotModelled`."""

    workers = 1

    def __init__(self, client: Client, api_version: str, kind: str) -> None:
        self.api_version, self.kind = api_version, kind  # type: ignore[misc] # one class, many kinds
        super().__init__(client)

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Say so."""
        conditions.false("Ready", "NotModelled", f"the sandbox does not model {self.kind}")


def unmodelled(client: Client, kinds: Iterable[str]) -> list[Coroutine[Any, Any, None]]:
    """Return the work of a reconciler for each kind, `GROUP/VERSION/KIND`."""
    return [Unmodelled(client, *kind.rsplit("/", 1)).run() for kind in kinds]


async def idle(ctx: ContainerContext, port: str) -> int:
    """Run a program that answers probes, and 501 to all else.

    `port` is a number or the environment variable that holds it.
    """
    async with Process(ctx, api=False) as process:
        await process.listen(int(ctx.env.get(port, port)), _answer)
        return await process.run()


async def _answer(request: web.BaseRequest) -> web.StreamResponse:
    if is_probe(request) or (request.path in _HEALTH_PATHS and request.method == "GET"):
        return web.Response()
    return web.Response(status=501, text="not modelled by the sandbox\n")


async def webhook(ctx: ContainerContext, *names: str) -> int:
    """Run a webhook that registers under these names of configurations, and is never asked: it has no rules.

    A name with slashes, `GROUP/VERSION/KIND`, is a kind whose objects are marked instead.
    """
    kinds = [name for name in names if "/" in name]
    registered = [
        Webhook(name, not name.startswith(("config.", "validation.")), f"/{name}", _unchanged, dict)
        for name in names
        if "/" not in name
    ]
    async with Process(ctx) as process:
        server = WebhookServer(process, registered)
        return await process.run(server.serve(), *unmodelled(process.client, kinds))


async def _unchanged(request: Request) -> Object:
    obj: Object = request.get("object") or {}
    return obj
