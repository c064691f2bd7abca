"""StatefulSets: pods with names that stay, one after another."""

from __future__ import annotations

from streamops_sandbox.controllers.workloads import (
    PodController,
    has_ended,
    is_active,
    is_current,
    is_ready,
    revised_pod,
    template_hash,
    without_zeros,
)
from streamops_sandbox.objects import Object

_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
_INDEX_LABEL = "apps.kubernetes.io/pod-index"


class StatefulSetController(PodController):
    """Creates pods in order, deletes and updates them in reverse order."""

    kind = "StatefulSet"
    unsupported = (
        "volumeClaimTemplates",
        "ordinals.start",
        "updateStrategy.type=OnDelete",
        "updateStrategy.rollingUpdate.partition",
    )

    async def sync(self, owner: Object, pods: list[Object]) -> Exception | None:
        """Do what may be done now; the pods' changes bring the next step."""
        by_ordinal = {_ordinal(pod): pod for pod in pods}
        wanted = range(owner["spec"].get("replicas", 1))
        for ordinal in wanted:
            pod = by_ordinal.get(ordinal)
            if pod is None:
                return await self.create(owner, [_new_pod(owner, ordinal)])
            if has_ended(pod):
                await self.delete(owner, [pod])
            if not is_active(pod) or not is_ready(pod):
                return None
        surplus = set(by_ordinal) - set(wanted)
        old = surplus or {one for one in wanted if not is_current(owner, by_ordinal[one])}
        if old:
            await self.delete(owner, [by_ordinal[max(old)]])
        return None

    def status(self, owner: Object, pods: list[Object], failure: Exception | None) -> Object:
        """See PodController."""
        active = [pod for pod in pods if is_active(pod)]
        ready = sum(map(is_ready, active))
        updated = sum(is_current(owner, pod) for pod in active)
        all_new = updated == len(active) == owner["spec"].get("replicas", 1)
        revision = f"{owner['metadata']['name']}-{template_hash(owner['spec']['template'])}"
        before = owner.get("status", {}).get("currentRevision")
        return {
            "replicas": len(pods),
            "availableReplicas": ready,
            "currentRevision": revision if all_new or not before else before,
            "updateRevision": revision,
            "collisionCount": 0,
            **without_zeros(
                readyReplicas=ready,
                updatedReplicas=updated,
                currentReplicas=len(active) if all_new else len(active) - updated,
            ),
        }


def _new_pod(stateful_set: Object, ordinal: int) -> Object:
    name = f"{stateful_set['metadata']['name']}-{ordinal}"
    pod = revised_pod(stateful_set, name=name)
    pod["metadata"]["labels"] |= {_NAME_LABEL: name, _INDEX_LABEL: str(ordinal)}
    pod["spec"]["hostname"] = name
    pod["spec"]["subdomain"] = stateful_set["spec"].get("serviceName", "")
    return pod


def _ordinal(pod: Object) -> int:
    _, dash, ordinal = pod["metadata"]["name"].rpartition("-")
    return int(ordinal) if dash and ordinal.isdigit() else -1
