"""A pod's status as the kubelet writes it."""

from __future__ import annotations

from collections.abc import Sequence

from streamops_sandbox.node.container import Container
from streamops_sandbox.objects import Object
from streamops_sandbox.timestamps import now

#: The conditions that are the kubelet's; others belong to somebody else.
_OURS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


def phase(pod: Object, containers: Sequence[Container]) -> str:
    """Return the phase that follows from the containers' states."""
    policy = pod["spec"].get("restartPolicy", "Always")
    running = stopped = succeeded = waiting = 0
    for container in containers:
        if "running" in container.state:
            running += 1
        elif "terminated" in container.state or container.last_state:
            stopped += 1
            succeeded += container.exit_code == 0
        else:
            waiting += 1
    if waiting:
        return "Pending"
    if running or policy == "Always":
        return "Running"
    if stopped == succeeded:
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def conditions(
    pod: Object, containers: Sequence[Container], *, phase: str, network: bool
) -> list[Object]:
    """Return the pod's conditions; those of others are kept as they are."""
    known = {entry["type"]: entry for entry in pod.get("status", {}).get("conditions") or []}
    wanted = [
        _condition("PodReadyToStartContainers", network),
        _condition("Initialized", True, "PodCompleted" if phase == "Succeeded" else ""),
    ]
    containers_ready = _containers_ready(containers, phase)
    wanted += [
        {**containers_ready, "type": "Ready"},
        containers_ready,
        known.get("PodScheduled") or _condition("PodScheduled", True),
    ]
    generation = pod["metadata"].get("generation")
    for condition in wanted:
        before = known.get(condition["type"])
        changed = before is None or before["status"] != condition["status"]
        condition.setdefault("lastProbeTime", None)
        condition["lastTransitionTime"] = (
            now() if changed or before is None else before["lastTransitionTime"]
        )
        if generation:
            condition["observedGeneration"] = generation
    return wanted + [entry for name, entry in known.items() if name not in _OURS]


def _condition(name: str, true: bool, reason: str = "", message: str = "") -> Object:
    status = "True" if true else "False"
    found = {"type": name, "status": status, "reason": reason, "message": message}
    return {field: value for field, value in found.items() if value}


def _containers_ready(containers: Sequence[Container], phase: str) -> Object:
    if phase == "Succeeded":
        return _condition("ContainersReady", False, "PodCompleted")
    if phase == "Failed":
        return _condition("ContainersReady", False, "PodFailed")
    unready = [one.name for one in containers if not one.ready]
    if not unready:
        return _condition("ContainersReady", True)
    message = f"containers with unready status: [{' '.join(unready)}]"
    return _condition("ContainersReady", False, "ContainersNotReady", message)
