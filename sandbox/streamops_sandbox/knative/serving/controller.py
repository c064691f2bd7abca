"""cmd/controller of Serving: Services, Configurations, Revisions and Routes."""

from __future__ import annotations

from streamops_sandbox.knative.process import Process
from streamops_sandbox.knative.serving import names
from streamops_sandbox.knative.serving.configuration import ConfigurationReconciler
from streamops_sandbox.knative.serving.revision import RevisionReconciler
from streamops_sandbox.knative.serving.route import RouteReconciler
from streamops_sandbox.knative.serving.service import ServiceReconciler
from streamops_sandbox.knative.unmodelled import unmodelled
from streamops_sandbox.node.context import ContainerContext

_UNMODELLED = [
    ("serving.knative.dev/v1beta1", "DomainMapping"),
    (names.NETWORKING, "Certificate"),
]


async def main(ctx: ContainerContext) -> int:
    """Run Serving's controller."""
    async with Process(ctx) as process:
        client = process.client
        config = await process.follow("v1", "ConfigMap", process.namespace)
        controllers = [
            ServiceReconciler(client),
            ConfigurationReconciler(client),
            RevisionReconciler(client, config),
            RouteReconciler(client, config),
        ]
        await process.answer_probes()
        work = [controller.run() for controller in controllers]
        return await process.run(*work, *unmodelled(client, _UNMODELLED))
