"""cmd/controller of Serving: Services, and a word on what is not modelled."""

from __future__ import annotations

from streamops_sandbox.knative.process import Process
from streamops_sandbox.knative.serving import names
from streamops_sandbox.knative.serving.service import ServiceReconciler
from streamops_sandbox.knative.unmodelled import unmodelled
from streamops_sandbox.node.context import ContainerContext

_UNMODELLED = [
    (names.API, "Configuration"),
    (names.API, "Revision"),
    (names.API, "Route"),
    ("serving.knative.dev/v1beta1", "DomainMapping"),
    (names.NETWORKING, "Certificate"),
]


async def main(ctx: ContainerContext) -> int:
    """Run Serving's controller."""
    async with Process(ctx) as process:
        client = process.client
        config = await process.follow("v1", "ConfigMap", process.namespace)
        services = ServiceReconciler(client, config)
        await process.answer_probes()
        others = unmodelled(client, _UNMODELLED)
        return await process.run(services.run(), *others)
