"""ReplicaSets: keep so many pods of a template."""

from __future__ import annotations

from streamops_sandbox.client import ApiError
from streamops_sandbox.controllers.workloads import (
    PodController,
    condition,
    is_active,
    is_ready,
    pod_from,
    set_condition,
    without_zeros,
)
from streamops_sandbox.objects import Object


class ReplicaSetController(PodController):
    """Creates and deletes pods until there are as many as a ReplicaSet wants."""

    kind = "ReplicaSet"

    async def sync(self, owner: Object, pods: list[Object]) -> Exception | None:
        """See PodController; those that are not ready go first, then the newest."""
        active = [pod for pod in pods if is_active(pod)]
        active.sort(key=lambda pod: pod["metadata"]["creationTimestamp"], reverse=True)
        missing = owner["spec"].get("replicas", 1) - len(active)
        if missing < 0:
            await self.delete(owner, sorted(active, key=is_ready)[:-missing])
            return None
        stem = f"{owner['metadata']['name']}-"
        return await self.create(
            owner, [pod_from(owner, generateName=stem) for _ in range(missing)]
        )

    def status(self, owner: Object, pods: list[Object], failure: Exception | None) -> Object:
        """See PodController."""
        active = [pod for pod in pods if is_active(pod)]
        ready = sum(map(is_ready, active))
        status = without_zeros(
            fullyLabeledReplicas=len(active), readyReplicas=ready, availableReplicas=ready
        )
        status["replicas"] = len(active)
        status["terminatingReplicas"] = sum(
            bool(pod["metadata"].get("deletionTimestamp")) for pod in pods
        )
        if failure is not None:
            # Its message stays: a write for each refused pod would make the next try come at once.
            conditions = [known] if (known := condition(owner, "ReplicaFailure")) else []
            message = failure.message if isinstance(failure, ApiError) else str(failure)
            if not conditions:
                set_condition(conditions, "ReplicaFailure", "True", "FailedCreate", message)
            status["conditions"] = conditions
        return status
