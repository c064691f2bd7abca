"""cmd/webhook of Eventing: defaulting, validation and SinkBinding, reconciler and webhook."""

from __future__ import annotations

from functools import partial

from streamops_sandbox.knative.admission import Webhook, WebhookServer, standard_webhooks
from streamops_sandbox.knative.eventing.defaults import default
from streamops_sandbox.knative.eventing.sinkbinding import SinkBindingReconciler, SinkBindingWebhook
from streamops_sandbox.knative.eventing.validation import validate, validate_config
from streamops_sandbox.knative.process import Process
from streamops_sandbox.node.context import ContainerContext


async def main(ctx: ContainerContext) -> int:
    """Run the eventing-webhook."""
    async with Process(ctx) as process:
        config = await process.follow("v1", "ConfigMap", process.namespace)
        reconciler = SinkBindingReconciler(process.client, config)
        inclusion = ctx.env.get("SINK_BINDING_SELECTION_MODE") == "inclusion"
        binding = SinkBindingWebhook(process.client, reconciler.objects, inclusion=inclusion)
        webhooks = standard_webhooks(
            "eventing", partial(default, config), validate, validate_config=validate_config
        )
        name = "sinkbindings.webhook.sources.knative.dev"
        webhooks.append(Webhook(name, True, "/sinkbindings", binding.handle, binding.settings))
        server = WebhookServer(process, webhooks)
        reconciler.objects.subscribe(lambda *_: server.refresh())
        return await process.run(server.serve(), reconciler.run())
