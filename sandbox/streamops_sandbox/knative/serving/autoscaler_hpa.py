"""cmd/autoscaler-hpa: PodAutoscalers of the HPA class, which nothing in the sandbox could scale."""

from __future__ import annotations

from streamops_sandbox.controller import Object
from streamops_sandbox.knative.conditions import Conditions
from streamops_sandbox.knative.process import Process
from streamops_sandbox.knative.reconciler import Reconciler
from streamops_sandbox.knative.serving import names
from streamops_sandbox.node.context import ContainerContext

_HPA = "hpa.autoscaling.knative.dev"


async def main(ctx: ContainerContext) -> int:
    """Run the HPA autoscaler."""
    async with Process(ctx) as process:
        await process.answer_probes()
        return await process.run(HpaReconciler(process.client).run())


class HpaReconciler(Reconciler):
    """Says on PodAutoscalers of the HPA class that pods' CPU is not measured here."""

    api_version = names.AUTOSCALING
    kind = "PodAutoscaler"

    def mine(self, obj: Object) -> bool:
        """Tell whether the object is of the HPA class."""
        annotations = obj["metadata"].get("annotations") or {}
        return bool(annotations.get(names.AUTOSCALER_CLASS) == _HPA)

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Say so."""
        message = "the sandbox does not model scaling by a HorizontalPodAutoscaler"
        conditions.false("Ready", "NotModelled", message)
