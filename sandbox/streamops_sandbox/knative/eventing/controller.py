"""cmd/controller of Eventing: channels, subscriptions and ContainerSources."""

from __future__ import annotations

from streamops_sandbox.knative.eventing.channel import ChannelReconciler
from streamops_sandbox.knative.eventing.containersource import ContainerSourceReconciler
from streamops_sandbox.knative.eventing.subscription import SubscriptionReconciler
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
    ("sinks.knative.dev/v1alpha1", "IntegrationSink"),
    ("sinks.knative.dev/v1alpha1", "JobSink"),
    ("sources.knative.dev/v1", "ApiServerSource"),
    ("sources.knative.dev/v1", "PingSource"),
    ("sources.knative.dev/v1alpha1", "IntegrationSource"),
]


async def main(ctx: ContainerContext) -> int:
    """Run the eventing-controller."""
    async with Process(ctx) as process:
        client = process.client
        controllers = [
            ChannelReconciler(client),
            SubscriptionReconciler(client),
            ContainerSourceReconciler(client),
            *unmodelled(client, _UNMODELLED),
        ]
        await process.answer_probes()
        return await process.run(*(controller.run() for controller in controllers))
