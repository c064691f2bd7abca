"""cmd/activator: holds requests for revisions without pods and spreads those of small ones."""

from __future__ import annotations

import asyncio
from collections import Counter

import aiohttp
from aiohttp import web

from streamops_sandbox.controller import Object
from streamops_sandbox.informer import Informer
from streamops_sandbox.knative.process import Process, is_probe
from streamops_sandbox.knative.proxy import forward
from streamops_sandbox.knative.serving import load, names
from streamops_sandbox.node.context import ContainerContext

_HTTP_PORT = 8012
_DEFAULT_SECONDS = 300.0
_ATTEMPTS = 10
_RETRY_SECONDS = 0.05


async def main(ctx: ContainerContext) -> int:
    """Run the activator."""
    async with Process(ctx) as process:
        client = process.client
        endpoints = client.informer("v1", "Endpoints")
        revisions = client.informer(names.API, "Revision")
        for informer in (endpoints, revisions):
            await informer.start()
            await informer.synced()
        activator = Activator(process, endpoints, revisions)
        process.reports[load.PATH] = activator.load.stream
        await process.listen(_HTTP_PORT, activator.answer)
        return await process.run()


class Activator:
    """Passes requests to the pods behind revisions' private Services."""

    def __init__(self, process: Process, endpoints: Informer, revisions: Informer) -> None:
        self.load = load.Load()
        self._process = process
        self._endpoints = endpoints
        self._revisions = revisions
        self._waiting: dict[tuple[str, str], asyncio.Event] = {}
        self._outstanding: Counter[str] = Counter()
        endpoints.subscribe(self._changed)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a probe, or pass on a request that says which revision it is for."""
        if is_probe(request) or request.headers.get(names.PROBE_HEADER) == "activator":
            return web.Response(text="activator")
        name = request.headers.get(names.REVISION_HEADER, "")
        namespace = request.headers.get(names.NAMESPACE_HEADER, "")
        revision = self._revisions.get(name, namespace)
        if revision is None:
            return web.Response(status=404, text=f"revision {namespace}/{name} not found\n")
        timeout = revision["spec"].get("timeoutSeconds") or _DEFAULT_SECONDS
        with self.load.request(f"{namespace}/{name}"):
            try:
                async with asyncio.timeout(timeout):
                    return await self._forward(request, revision)
            except TimeoutError:
                return web.Response(status=504, text="activator request timeout\n")
            except (aiohttp.ClientError, OSError) as error:
                return web.Response(status=502, text=f"{error}\n")

    async def _forward(self, request: web.BaseRequest, revision: Object) -> web.StreamResponse:
        headers = {"K-Proxy-Request": "activator"}
        for attempt in range(_ATTEMPTS):
            address = await self._acquire(revision)
            self._outstanding[address] += 1
            try:
                return await forward(
                    request,
                    self._process.transport,
                    f"{address}:{names.QUEUE_PORT}",
                    add=headers,
                )
            except aiohttp.ClientConnectorError:
                # Nothing was sent: the pod has gone or is about to listen.
                if attempt == _ATTEMPTS - 1:
                    raise
            finally:
                self._release(revision, address)
            await asyncio.sleep(_RETRY_SECONDS)
        raise ConnectionError("unreachable")

    async def _acquire(self, revision: Object) -> str:
        """Wait for a pod with room and return its address: the one with the fewest requests."""
        key = _private(revision)
        limit = revision["spec"].get("containerConcurrency") or 0
        while True:
            addresses = self._addresses(key)
            if addresses:
                best = min(addresses, key=lambda address: self._outstanding[address])
                if not limit or self._outstanding[best] < limit:
                    return best
            event = self._waiting.setdefault(key, asyncio.Event())
            await event.wait()

    def _release(self, revision: Object, address: str) -> None:
        self._outstanding[address] -= 1
        if not self._outstanding[address]:
            del self._outstanding[address]
        self._wake(_private(revision))

    def _addresses(self, key: tuple[str, str]) -> list[str]:
        found = self._endpoints.get(key[1], key[0]) or {}
        return [
            address["ip"]
            for subset in found.get("subsets") or []
            for address in subset.get("addresses") or []
        ]

    def _changed(self, _: str, obj: Object) -> None:
        self._wake((obj["metadata"]["namespace"], obj["metadata"]["name"]))

    def _wake(self, key: tuple[str, str]) -> None:
        event = self._waiting.pop(key, None)
        if event is not None:
            event.set()


def _private(revision: Object) -> tuple[str, str]:
    return revision["metadata"]["namespace"], f"{revision['metadata']['name']}-private"
