"""Which program stands in for which of upstream's images."""

from __future__ import annotations

import importlib
import re

from streamops_sandbox.node.context import ContainerContext, Program

_NETWORKING = "networking.internal.knative.dev"
_KAFKA = "webhook.kafka.eventing.knative.dev"
_RABBITMQ = "webhook.rabbitmq.eventing.knative.dev"
#: The image's path, as ko names them, to the module and function that run it, with its argument.
_PROGRAMS = {
    "envoyproxy/envoy": "kourier.gateway:main",
    "knative.dev/eventing/cmd/broker/filter": "eventing.broker_data:filter_events",
    "knative.dev/eventing/cmd/broker/ingress": "eventing.broker_data:ingress",
    "knative.dev/eventing/cmd/controller": "eventing.controller:main",
    "knative.dev/eventing/cmd/in_memory/channel_controller": "unmodelled:channel_controller",
    "knative.dev/eventing/cmd/in_memory/channel_dispatcher": "unmodelled:idle:8080",
    "knative.dev/eventing/cmd/jobsink": "unmodelled:idle:INGRESS_PORT",
    "knative.dev/eventing/cmd/migrate": "migrate:main",
    "knative.dev/eventing/cmd/mtchannel_broker": "eventing.broker:main",
    "knative.dev/eventing/cmd/mtping": "unmodelled:idle:8080",
    "knative.dev/eventing/cmd/requestreply": "unmodelled:idle:HTTP_PORT",
    "knative.dev/eventing/cmd/webhook": "eventing.webhook:main",
    "knative.dev/eventing-kafka-broker/control-plane/cmd/kafka-controller": "eventing.kafka:controller",
    "knative.dev/eventing-kafka-broker/control-plane/cmd/post-install": "migrate:main",
    "knative.dev/eventing-kafka-broker/control-plane/cmd/webhook-kafka": (
        f"unmodelled:webhook:defaulting.{_KAFKA}:pods.defaulting.{_KAFKA}:validation.{_KAFKA}"
    ),
    "knative.dev/eventing-rabbitmq/cmd/controller/broker": "unmodelled:idle:8080",
    "knative.dev/eventing-rabbitmq/cmd/webhook/broker": (
        f"unmodelled:webhook:defaulting.{_RABBITMQ}:validation.{_RABBITMQ}"
    ),
    "knative-kafka-broker-dispatcher-loom": "unmodelled:idle:8080",
    "knative-kafka-broker-receiver-loom": "eventing.kafka:receiver",
    "knative.dev/net-gateway-api/cmd/controller": "unmodelled:idle:8080",
    "knative.dev/net-gateway-api/cmd/webhook": f"unmodelled:webhook:config.webhook.gateway-api.{_NETWORKING}",
    "knative.dev/net-istio/cmd/controller": "unmodelled:idle:8080",
    "knative.dev/net-istio/cmd/webhook": (
        f"unmodelled:webhook:config.webhook.istio.{_NETWORKING}:webhook.istio.{_NETWORKING}"
    ),
    "knative.dev/net-kourier/cmd/kourier": "kourier.controller:main",
    "knative.dev/pkg/apiextensions/storageversion/cmd/migrate": "migrate:main",
    "knative.dev/serving/cmd/activator": "unmodelled:idle:8012",
    "knative.dev/serving/cmd/autoscaler": "unmodelled:idle:8080",
    "knative.dev/serving/cmd/autoscaler-hpa": "unmodelled:idle:8080",
    "knative.dev/serving/cmd/controller": "serving.controller:main",
    "knative.dev/serving/cmd/default-domain": "unmodelled:fail",
    "knative.dev/serving/cmd/migrate": "migrate:main",
    "knative.dev/serving/cmd/queue": "unmodelled:idle:8012",
    "knative.dev/serving/cmd/webhook": "serving.webhook:main",
}
_TAG_OR_DIGEST = re.compile(r"(:[\w.-]+)?(@[\w:]+)?$")


def find(image: str) -> Program | None:
    """Return the program for an image, or None where the sandbox has none for it.

    Registry or mirror before the path, tag and digest after it do not matter.
    """
    path = _TAG_OR_DIGEST.sub("", image)
    for name, target in _PROGRAMS.items():
        if path == name or path.endswith(f"/{name}"):
            return _lazy(*target.split(":"))
    return None


def _lazy(module: str, function: str, *arguments: str) -> Program:
    """Return a program whose module is imported only when it starts."""

    async def run(ctx: ContainerContext) -> int:
        imported = importlib.import_module(f"streamops_sandbox.knative.{module}")
        code: int = await getattr(imported, function)(ctx, *arguments)
        return code

    return run
