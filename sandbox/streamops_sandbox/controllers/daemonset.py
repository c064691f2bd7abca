"""DaemonSets: one pod on the node, where that fits."""

from __future__ import annotations

from streamops_sandbox.client import Client
from streamops_sandbox.controller import key_of
from streamops_sandbox.controllers.workloads import (
    PodController,
    has_ended,
    is_active,
    is_current,
    is_ready,
    revised_pod,
    without_zeros,
)
from streamops_sandbox.objects import Object


class DaemonSetController(PodController):
    """Keeps DaemonSets' pods, of which a cluster of one node has one each."""

    kind = "DaemonSet"
    unsupported = ("updateStrategy.type=OnDelete",)

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        nodes = client.informer("v1", "Node")
        self._nodes = self.watch(nodes, lambda _: map(key_of, self.owners.list()))

    async def sync(self, owner: Object, pods: list[Object]) -> Exception | None:
        """See PodController; a pod of an older template goes before the new one comes."""
        wanted = self._fits(owner)
        keep = [pod for pod in pods if wanted and is_current(owner, pod) and not has_ended(pod)]
        await self.delete(owner, [pod for pod in pods if pod not in keep])
        if not wanted or any(not has_ended(pod) for pod in pods):
            return None
        return await self.create(
            owner, [revised_pod(owner, generateName=f"{owner['metadata']['name']}-")]
        )

    def status(self, owner: Object, pods: list[Object], failure: Exception | None) -> Object:
        """See PodController."""
        wanted = int(self._fits(owner))
        placed = [pod for pod in pods if wanted and is_active(pod)]
        ready = sum(map(is_ready, placed))
        return {
            "currentNumberScheduled": len(placed),
            "numberMisscheduled": 0 if wanted else len(pods),
            "desiredNumberScheduled": wanted,
            "numberReady": ready,
            **without_zeros(
                updatedNumberScheduled=sum(is_current(owner, pod) for pod in placed),
                numberAvailable=ready,
                numberUnavailable=wanted - ready,
            ),
        }

    def _fits(self, daemon_set: Object) -> bool:
        """Whether the node has the labels that the pods ask for."""
        selector = daemon_set["spec"]["template"]["spec"].get("nodeSelector") or {}
        return any(
            selector.items() <= (node["metadata"].get("labels") or {}).items()
            for node in self._nodes.list()
        )
