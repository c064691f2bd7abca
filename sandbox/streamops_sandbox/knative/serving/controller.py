"""cmd/controller of Serving: Services, and a word on what is not modelled."""

from __future__ import annotations

from streamops_sandbox.knative.process import Process
from streamops_sandbox.knative.serving.service import ServiceReconciler
from streamops_sandbox.knative.unmodelled import unmodelled
from streamops_sandbox.node.context import ContainerContext


async def main(ctx: ContainerContext, *kinds: str) -> int:
    """Run Serving's controller."""
    async with Process(ctx) as process:
        client = process.client
        config = await process.follow("v1", "ConfigMap", process.namespace)
        services = ServiceReconciler(client, config)
        await process.answer_probes()
        others = unmodelled(client, kinds)
        return await process.run(services.run(), *others)
