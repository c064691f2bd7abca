"""What every program needs: an API client of its own, listeners on the pod's address."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self

import aiohttp
from aiohttp import web

from streamops_sandbox.client import Client
from streamops_sandbox.informer import Informer
from streamops_sandbox.knative.transport import Transport
from streamops_sandbox.node.context import ContainerContext

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_DRAIN_SECONDS = 2.0


class Process:
    """A running program; leaving the context closes all it opened.

    `client` talks to the API server as the pod's service account (not with `api=False`);
    `transport` sends HTTP requests to names of the cluster.
    """

    client: Client
    transport: Transport

    def __init__(self, ctx: ContainerContext, *, api: bool = True) -> None:
        self.ctx = ctx
        self._api = api
        self.namespace = ctx.env.get("SYSTEM_NAMESPACE") or ctx.namespace
        self._runners: list[web.ServerRunner] = []

    async def __aenter__(self) -> Self:
        if self._api:
            self.client = Client(self.ctx.kubeconfig, user_agent=f"{self.ctx.name}/{self.ctx.pod}")
        self.transport = Transport(self.ctx.resolve)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.gather(*(runner.cleanup() for runner in self._runners))
        await self.transport.close()
        if self._api:
            await self.client.close()

    async def listen(
        self, port: int, handler: Handler, *, tls: ssl.SSLContext | None = None
    ) -> None:
        """Serve HTTP/1.1 on a port of the pod; `handler` answers every request."""
        # Data plane: no limit on bodies but memory, no decompression, no access log.
        server = web.Server(
            handler, access_log=None, auto_decompress=False, handler_cancellation=True
        )
        runner = web.ServerRunner(server, shutdown_timeout=_DRAIN_SECONDS)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, self.ctx.pod_ip, port, ssl_context=tls, backlog=1024).start()

    async def answer_probes(self) -> None:
        """Answer knative.dev/pkg's `/health` and `/readiness` (and any other path) with 200."""

        async def healthy(_request: web.BaseRequest) -> web.Response:
            return web.Response(text="ok")

        await self.listen(8080, healthy)

    async def follow(self, api_version: str, kind: str, namespace: str | None = None) -> Informer:
        """Return a kind's informer once it knows all objects."""
        informer = self.client.informer(api_version, kind, namespace)
        await informer.start()
        await informer.synced()
        return informer

    async def run(self, *work: Coroutine[Any, Any, None]) -> int:
        """Run until cancelled; the first piece of work that fails ends the program."""
        self.ctx.log(f"{self.ctx.name} started")
        async with asyncio.TaskGroup() as group:
            for item in work:
                group.create_task(item)
            if not work:
                await asyncio.Event().wait()
        return 0


def is_probe(request: web.BaseRequest) -> bool:
    """Tell whether a request is a kubelet's probe, as knative.dev/networking does."""
    agent = request.headers.get("User-Agent", "")
    return agent.startswith("kube-probe/") or "K-Kubelet-Probe" in request.headers


#: Errors of a connection, as opposed to an answer with an error status.
CONNECTION_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)
