"""HorizontalPodAutoscalers: there are no metrics here, and their status says so."""

from __future__ import annotations

import copy
from typing import Any

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.controller import Controller
from streamops_sandbox.controllers.workloads import set_condition, write_status

Object = dict[str, Any]

_MESSAGE = (
    "the HPA was unable to compute the replica count: unable to fetch metrics from resource metrics "
    "API: the sandbox has no metrics server"
)


class AutoscalingController(Controller):
    """Reports the target's size and that it is not scaled."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._autoscalers = self.watch(client.informer("autoscaling/v2", "HorizontalPodAutoscaler"))

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Reconcile an autoscaler."""
        autoscaler = self._autoscalers.get(name, namespace)
        if autoscaler is None or autoscaler["metadata"].get("deletionTimestamp"):
            return
        target = autoscaler["spec"]["scaleTargetRef"]
        conditions = copy.deepcopy(autoscaler.get("status", {}).get("conditions") or [])
        replicas = 0
        try:
            found = await self.client.get(
                target.get("apiVersion", "apps/v1"), target["kind"], target["name"], namespace
            )
        except ApiError as error:
            if not error.not_found:
                raise
            message = (
                f"the HPA controller was unable to get the target's current scale: {error.message}"
            )
            set_condition(conditions, "AbleToScale", "False", "FailedGetScale", message)
        else:
            replicas = found["spec"].get("replicas", 1)
            message = "the HPA controller was able to get the target's current scale"
            set_condition(conditions, "AbleToScale", "True", "SucceededGetScale", message)
            set_condition(conditions, "ScalingActive", "False", "FailedGetResourceMetric", _MESSAGE)
        status = {
            "observedGeneration": autoscaler["metadata"].get("generation", 1),
            "currentReplicas": replicas,
            "desiredReplicas": 0,
            "currentMetrics": None,
            "conditions": conditions,
        }
        await write_status(self.client, autoscaler, status)
