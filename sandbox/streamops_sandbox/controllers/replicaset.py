"""ReplicaSets: keep so many pods of a template."""

from __future__ import annotations

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.controller import Controller
from streamops_sandbox.controllers.workloads import (
    claim,
    condition,
    create_pods,
    delete_pods,
    is_active,
    is_ready,
    pod_from,
    set_condition,
    unavailable_for,
    write_status,
)
from streamops_sandbox.events import EventRecorder
from streamops_sandbox.objects import Object

_BURST = 100


class ReplicaSetController(Controller):
    """Creates and deletes pods until there are as many as a ReplicaSet wants."""

    def __init__(self, client: Client, events: EventRecorder) -> None:
        super().__init__(client)
        self._events = events
        self._sets = self.watch(client.informer("apps/v1", "ReplicaSet"))
        self._pods = self.watch_owned(client.informer("v1", "Pod"), "ReplicaSet")

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Reconcile a ReplicaSet."""
        replica_set = self._sets.get(name, namespace)
        if replica_set is None:
            return
        pods = await claim(self.client, self._pods, replica_set)
        failure: Exception | None = None
        if not replica_set["metadata"].get("deletionTimestamp"):
            failure = await self._scale(replica_set, [pod for pod in pods if is_active(pod)])
            pods = await claim(self.client, self._pods, replica_set)
        await self._write_status(replica_set, pods, failure)
        if failure is not None:
            raise failure

    async def _scale(self, replica_set: Object, pods: list[Object]) -> Exception | None:
        """Create or delete pods; returns what kept a pod from being created."""
        missing = replica_set["spec"].get("replicas", 1) - len(pods)
        if missing < 0:
            surplus = sorted(pods, key=_deletion_order)[:-missing]
            await delete_pods(self.client, surplus)
            for pod in surplus:
                message = f"Deleted pod: {pod['metadata']['name']}"
                self._events.record(replica_set, "Normal", "SuccessfulDelete", message)
            return None
        missing, batch = min(missing, _BURST), 1
        stem = f"{replica_set['metadata']['name']}-"
        while missing > 0:  # slowly at first: what refuses one pod refuses them all
            count = min(batch, missing)
            new = [
                pod_from(replica_set["spec"]["template"], replica_set, generateName=stem)
                for _ in range(count)
            ]
            failure = await create_pods(self.client, self._events, replica_set, new)
            if failure is not None:
                return failure
            missing, batch = missing - count, batch * 2
        return None

    async def _write_status(
        self, replica_set: Object, pods: list[Object], failure: Exception | None
    ) -> None:
        spec, metadata = replica_set["spec"], replica_set["metadata"]
        active = [pod for pod in pods if is_active(pod)]
        waits = [unavailable_for(pod, spec.get("minReadySeconds", 0)) for pod in active]
        template_labels = (spec["template"].get("metadata") or {}).get("labels") or {}
        counts = {
            "replicas": len(active),
            "fullyLabeledReplicas": sum(
                template_labels.items() <= (pod["metadata"].get("labels") or {}).items()
                for pod in active
            ),
            "readyReplicas": sum(is_ready(pod) for pod in active),
            "availableReplicas": sum(wait == 0 for wait in waits),
        }
        status: Object = {key: value for key, value in counts.items() if value}
        status["replicas"] = len(active)
        status["terminatingReplicas"] = sum(
            bool(pod["metadata"].get("deletionTimestamp")) for pod in pods
        )
        status["observedGeneration"] = metadata.get("generation", 1)
        conditions: list[Object] = []
        if failure is not None:
            # Its message stays: a write for each refused pod would make the next try come at once.
            known = condition(replica_set, "ReplicaFailure")
            message = failure.message if isinstance(failure, ApiError) else str(failure)
            if not known:
                set_condition(conditions, "ReplicaFailure", "True", "FailedCreate", message)
            status["conditions"] = [known] if known else conditions
        await write_status(self.client, replica_set, status)
        self.come_again(replica_set, waits)


def _deletion_order(pod: Object) -> tuple[bool, bool, bool, int, str]:
    """Sort first what is the least loss: not bound, pending, not ready, cheap, then the newest."""
    annotations = pod["metadata"].get("annotations") or {}
    cost = int(annotations.get("controller.kubernetes.io/pod-deletion-cost", 0))
    # Creation times are whole seconds: a reversed order needs reversed characters.
    created = "".join(chr(255 - ord(char)) for char in pod["metadata"]["creationTimestamp"])
    return (
        bool(pod["spec"].get("nodeName")),
        pod.get("status", {}).get("phase") == "Running",
        is_ready(pod),
        cost,
        created,
    )
