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
    stopped = [one for one in containers if "running" not in one.state]
    if any("terminated" not in one.state and not one.last_state for one in stopped):
        return "Pending"
    if len(stopped) < len(containers) or policy == "Always":
        return "Running"
    if all(one.exit_code == 0 for one in stopped):
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
        same = before is not None and before["status"] == condition["status"]
        condition.setdefault("lastProbeTime", None)
        condition["lastTransitionTime"] = before["lastTransitionTime"] if same and before else now()
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
