"""cmd/controller of Serving: Services, Configurations, Revisions, Routes, ServerlessServices."""

from __future__ import annotations

from sandbox.knative.process import Process
from sandbox.knative.serving import names
from sandbox.knative.serving.configuration import ConfigurationReconciler
from sandbox.knative.serving.revision import RevisionReconciler
from sandbox.knative.serving.route import RouteReconciler
from sandbox.knative.serving.serverlessservice import ServerlessServiceReconciler
from sandbox.knative.serving.service import ServiceReconciler
from sandbox.knative.unmodelled import unmodelled
from sandbox.node.context import ContainerContext

_UNMODELLED = [
    ("serving.knative.dev/v1beta1", "DomainMapping"),
    (names.NETWORKING, "Certificate"),
]


async def main(ctx: ContainerContext) -> int:
    """Run Serving's controller."""
    async with Process(ctx) as process:
        client = process.client
        config = client.informer("v1", "ConfigMap", process.namespace)
        await config.start()
        await config.synced()
        controllers = [
            ServiceReconciler(client),
            ConfigurationReconciler(client),
            RevisionReconciler(client, config),
            RouteReconciler(client, config),
            ServerlessServiceReconciler(client, process.namespace),
            *unmodelled(client, _UNMODELLED),
        ]
        await process.answer_probes()
        return await process.run(*(controller.run() for controller in controllers))
