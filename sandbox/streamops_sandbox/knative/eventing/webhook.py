"""cmd/webhook of Eventing: defaulting, validation and SinkBinding, reconciler and webhook."""

from __future__ import annotations

from collections.abc import Iterable

from streamops_sandbox.controller import Object
from streamops_sandbox.knative.admission import Handle, Webhook, WebhookServer, rules
from streamops_sandbox.knative.eventing.conversion import convert
from streamops_sandbox.knative.eventing.defaults import Defaulter
from streamops_sandbox.knative.eventing.sinkbinding import SinkBindingReconciler, SinkBindingWebhook
from streamops_sandbox.knative.eventing.validation import validate, validate_config
from streamops_sandbox.knative.process import Process
from streamops_sandbox.node.context import ContainerContext

#: Group, versions and plurals the webhook answers for.
_KINDS: list[tuple[str, Iterable[str], str]] = [
    *(("eventing.knative.dev", ["v1"], plural) for plural in ("brokers", "triggers")),
    ("eventing.knative.dev", ["v1alpha1"], "eventpolicies"),
    ("eventing.knative.dev", ["v1beta1", "v1beta2", "v1beta3"], "eventtypes"),
    *(("messaging.knative.dev", ["v1"], plural) for plural in ("channels", "subscriptions")),
    *(
        ("sources.knative.dev", ["v1"], plural)
        for plural in ("apiserversources", "containersources", "sinkbindings")
    ),
    ("sources.knative.dev", ["v1alpha1"], "integrationsources"),
    ("sources.knative.dev", ["v1", "v1beta2"], "pingsources"),
    *(("sinks.knative.dev", ["v1alpha1"], plural) for plural in ("integrationsinks", "jobsinks")),
    *(("flows.knative.dev", ["v1"], plural) for plural in ("parallels", "sequences")),
]
#: Namespaces and objects can opt out of all of Knative's webhooks.
_SELECTOR = {
    "matchExpressions": [{"key": "webhooks.knative.dev/exclude", "operator": "DoesNotExist"}]
}


async def main(ctx: ContainerContext) -> int:
    """Run the eventing-webhook."""
    async with Process(ctx) as process:
        config = process.client.informer("v1", "ConfigMap", process.namespace)
        await config.start()
        await config.synced()
        reconciler = SinkBindingReconciler(process.client, config)
        inclusion = ctx.env.get("SINK_BINDING_SELECTION_MODE") == "inclusion"
        binding = SinkBindingWebhook(process.client, reconciler.objects, inclusion=inclusion)
        server = WebhookServer(
            process,
            f"{ctx.env['WEBHOOK_NAME']}-certs",
            [
                _resources("webhook", "/defaulting", Defaulter(config), mutating=True),
                _resources("validation.webhook", "/resource-validation", validate),
                Webhook(
                    "config.webhook.eventing.knative.dev",
                    False,
                    "/config-validation",
                    validate_config,
                    _config_settings,
                ),
                Webhook(
                    "sinkbindings.webhook.sources.knative.dev",
                    True,
                    "/sinkbindings",
                    binding.handle,
                    binding.settings,
                ),
            ],
            converted=["eventtypes.eventing.knative.dev", "pingsources.sources.knative.dev"],
            convert=convert,
        )
        reconciler.objects.subscribe(lambda *_: server.refresh())
        return await process.run(server.serve(), reconciler.run())


def _resources(name: str, path: str, handle: Handle, *, mutating: bool = False) -> Webhook:
    operations = ["CREATE", "UPDATE"] if mutating else ["CREATE", "DELETE", "UPDATE"]

    def settings() -> Object:
        return {"rules": rules(_KINDS, operations), "namespaceSelector": _SELECTOR}

    return Webhook(f"{name}.eventing.knative.dev", mutating, path, handle, settings)


def _config_settings() -> Object:
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["configmaps/*"],
        "scope": "*",
    }
    return {"rules": [rule]}
