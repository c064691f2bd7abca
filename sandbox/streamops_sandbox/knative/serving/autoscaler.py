"""cmd/autoscaler: collects the load of all revisions and scales their Deployments."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable

from streamops_sandbox.controller import Object
from streamops_sandbox.informer import Informer
from streamops_sandbox.knative.process import CONNECTION_ERRORS, Process, healthy
from streamops_sandbox.knative.serving import load, names
from streamops_sandbox.knative.serving.podautoscaler import PodAutoscalerReconciler
from streamops_sandbox.node.context import ContainerContext

_RETRY_SECONDS = 1.0


async def main(ctx: ContainerContext) -> int:
    """Run the autoscaler."""
    async with Process(ctx) as process:
        client = process.client
        config = client.informer("v1", "ConfigMap", process.namespace)
        activators = client.informer("v1", "Endpoints", process.namespace)
        for informer in (config, activators):
            await informer.start()
            await informer.synced()
        autoscaler = PodAutoscalerReconciler(client, config)
        collector = Collector(process, autoscaler)
        collector.follow(autoscaler.slices, _private_addresses)
        collector.follow(activators, _activator_addresses)
        await process.listen(8080, healthy)
        return await process.run(autoscaler.run(), collector.run())


class Collector:
    """Reads the load reports of every queue-proxy and activator, one connection each."""

    def __init__(self, process: Process, autoscaler: PodAutoscalerReconciler) -> None:
        self._process = process
        self._autoscaler = autoscaler
        self._wanted: dict[str, set[str]] = {}
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()

    def follow(self, informer: Informer, addresses: Callable[[Object], Iterable[str]]) -> None:
        """Read from the addresses that the informer's objects name."""

        def on_event(event_type: str, obj: Object) -> None:
            key = f"{obj['kind']}/{obj['metadata'].get('namespace')}/{obj['metadata']['name']}"
            self._wanted[key] = set() if event_type == "DELETED" else set(addresses(obj))
            self._changed.set()

        informer.subscribe(on_event)

    async def run(self) -> None:
        """Start and stop readers until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._changed.wait()
                self._changed.clear()
                wanted = set().union(*self._wanted.values())
                for address in self._readers.keys() - wanted:
                    self._readers.pop(address).cancel()
                    self._autoscaler.forget(address)
                for address in wanted - self._readers.keys():
                    self._readers[address] = group.create_task(self._read(address))

    async def _read(self, address: str) -> None:
        url = f"http://{address}:{names.QUEUE_METRICS_PORT}{load.PATH}"
        while True:
            try:
                async with self._process.transport.request("GET", url) as answer:
                    while line := await answer.content.readline():
                        figures = json.loads(line)
                        self._autoscaler.report(figures.pop("revision"), address, figures)
            except CONNECTION_ERRORS:
                self._autoscaler.forget(address)
            await asyncio.sleep(_RETRY_SECONDS)


def _private_addresses(part: Object) -> Iterable[str]:
    labels = part["metadata"].get("labels") or {}
    if not labels.get("kubernetes.io/service-name", "").endswith("-private"):
        return []
    return [a for e in part.get("endpoints") or [] for a in e["addresses"]]


def _activator_addresses(endpoints: Object) -> Iterable[str]:
    if endpoints["metadata"]["name"] != "activator-service":
        return []
    return [
        address["ip"]
        for subset in endpoints.get("subsets") or []
        for address in subset.get("addresses") or []
    ]
