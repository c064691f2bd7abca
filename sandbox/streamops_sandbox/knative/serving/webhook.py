"""cmd/webhook of Serving: defaulting and validation of its kinds and ConfigMaps."""

from __future__ import annotations

from functools import partial

from streamops_sandbox.knative.admission import WebhookServer, standard_webhooks
from streamops_sandbox.knative.process import Process
from streamops_sandbox.knative.serving.defaults import default
from streamops_sandbox.knative.serving.validation import validate
from streamops_sandbox.node.context import ContainerContext


async def main(ctx: ContainerContext) -> int:
    """Run Serving's webhook."""
    async with Process(ctx) as process:
        config = await process.follow("v1", "ConfigMap", process.namespace)
        webhooks = standard_webhooks("serving", partial(default, config), partial(validate, config))
        server = WebhookServer(process, webhooks)
        return await process.run(server.serve())
