"""Which program stands in for which of upstream's images."""

from __future__ import annotations

import importlib
import re

from sandbox.node.context import ContainerContext, Program

#: The image's path, as ko names them, to the module whose `main` runs it.
_PROGRAMS = {
    "knative.dev/eventing/cmd/webhook": "eventing.webhook",
    "knative.dev/net-kourier/cmd/kourier": "kourier.controller",
    "knative.dev/serving/cmd/activator": "serving.activator",
    "knative.dev/serving/cmd/autoscaler": "serving.autoscaler",
    "knative.dev/serving/cmd/controller": "serving.controller",
    "knative.dev/serving/cmd/queue": "serving.queue_proxy",
    "knative.dev/serving/cmd/webhook": "serving.webhook",
    "envoyproxy/envoy": "kourier.gateway",
}
_TAG_OR_DIGEST = re.compile(r"(:[\w.-]+)?(@[\w:]+)?$")


def find(image: str) -> Program | None:
    """Return the program for an image, or None where the sandbox has none for it.

    Registry or mirror before the path, tag and digest after it do not matter.
    """
    path = _TAG_OR_DIGEST.sub("", image)
    for name, module in _PROGRAMS.items():
        if path == name or path.endswith(f"/{name}"):
            return _lazy(module)
    return None


def _lazy(module: str) -> Program:
    async def run(ctx: ContainerContext) -> int:
        program: Program = importlib.import_module(f"sandbox.knative.{module}").main
        return await program(ctx)

    return run
