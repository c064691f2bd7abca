"""cmd/webhook of Serving: defaulting and validation of its kinds and ConfigMaps."""

from __future__ import annotations

from streamops_sandbox.controller import Object
from streamops_sandbox.knative.admission import Handle, Webhook, WebhookServer, rules
from streamops_sandbox.knative.process import Process
from streamops_sandbox.knative.serving.defaults import Defaulter
from streamops_sandbox.knative.serving.validation import Validator, validate_config
from streamops_sandbox.node.context import ContainerContext

_KINDS = [
    *(("serving.knative.dev", ["v1"], p) for p in ("configurations", "revisions", "routes")),
    ("serving.knative.dev", ["v1"], "services"),
    ("serving.knative.dev", ["v1beta1"], "domainmappings"),
    *(("autoscaling.internal.knative.dev", ["v1alpha1"], p) for p in ("metrics", "podautoscalers")),
    *(
        ("networking.internal.knative.dev", ["v1alpha1"], p)
        for p in ("certificates", "ingresses", "serverlessservices")
    ),
]


async def main(ctx: ContainerContext) -> int:
    """Run Serving's webhook."""
    async with Process(ctx) as process:
        config = process.client.informer("v1", "ConfigMap", process.namespace)
        await config.start()
        await config.synced()
        server = WebhookServer(
            process,
            f"{ctx.env['WEBHOOK_NAME']}-certs",
            [
                _resources("webhook", "/defaulting", Defaulter(config), mutating=True),
                _resources("validation.webhook", "/resource-validation", Validator(config)),
                Webhook(
                    "config.webhook.serving.knative.dev",
                    False,
                    "/config-validation",
                    validate_config,
                    _config_settings,
                ),
            ],
        )
        return await process.run(server.serve())


def _resources(name: str, path: str, handle: Handle, *, mutating: bool = False) -> Webhook:
    operations = ["CREATE", "UPDATE"] if mutating else ["CREATE", "DELETE", "UPDATE"]
    exclude = {"key": "webhooks.knative.dev/exclude", "operator": "DoesNotExist"}

    def settings() -> Object:
        return {
            "rules": rules(_KINDS, operations),
            "namespaceSelector": {"matchExpressions": [exclude]},
        }

    return Webhook(f"{name}.serving.knative.dev", mutating, path, handle, settings)


def _config_settings() -> Object:
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["configmaps/*"],
        "scope": "*",
    }
    return {"rules": [rule]}
