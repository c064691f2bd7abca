"""cmd/controller of Eventing: ContainerSources, and a word on what is not modelled."""

from __future__ import annotations

from streamops_sandbox.knative.eventing.containersource import ContainerSourceReconciler
from streamops_sandbox.knative.process import Process
from streamops_sandbox.knative.unmodelled import unmodelled
from streamops_sandbox.node.context import ContainerContext

_UNMODELLED = [
    ("eventing.knative.dev/v1alpha1", "EventPolicy"),
    ("eventing.knative.dev/v1alpha1", "EventTransform"),
    ("eventing.knative.dev/v1alpha1", "RequestReply"),
    ("eventing.knative.dev/v1beta2", "EventType"),
    ("flows.knative.dev/v1", "Parallel"),
    ("flows.knative.dev/v1", "Sequence"),
    ("messaging.knative.dev/v1", "Channel"),
    ("messaging.knative.dev/v1", "Subscription"),
    ("sinks.knative.dev/v1alpha1", "IntegrationSink"),
    ("sinks.knative.dev/v1alpha1", "JobSink"),
    ("sources.knative.dev/v1", "ApiServerSource"),
    ("sources.knative.dev/v1", "PingSource"),
    ("sources.knative.dev/v1alpha1", "IntegrationSource"),
]


async def main(ctx: ContainerContext) -> int:
    """Run the eventing-controller."""
    async with Process(ctx) as process:
        sources = ContainerSourceReconciler(process.client)
        await process.answer_probes()
        return await process.run(sources.run(), *unmodelled(process.client, _UNMODELLED))
