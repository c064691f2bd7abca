"""A pod's status as the kubelet writes it."""

from __future__ import annotations

from collections.abc import Sequence

from streamops_sandbox.node.container import Container
from streamops_sandbox.objects import Object
from streamops_sandbox.timestamps import now

#: The conditions that are the kubelet's; others belong to somebody else.
_OURS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


def phase(pod: Object, init: Sequence[Container], apps: Sequence[Container]) -> str:
    """Return the phase that follows from the containers' states."""
    policy = pod["spec"].get("restartPolicy", "Always")
    if _incomplete(init, apps):
        failed = any(one.role == "init" and one.exit_code for one in init)
        return "Failed" if failed and policy == "Never" else "Pending"
    running = stopped = succeeded = waiting = 0
    for container in apps:
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
    pod: Object, init: Sequence[Container], apps: Sequence[Container], *, phase: str, network: bool
) -> list[Object]:
    """Return the pod's conditions; those of others are kept as they are."""
    known = {entry["type"]: entry for entry in pod.get("status", {}).get("conditions") or []}
    wanted = [
        _condition("PodReadyToStartContainers", network),
        _initialized_condition(init, apps, phase),
    ]
    containers_ready = _containers_ready(init, apps, phase)
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


def _incomplete(init: Sequence[Container], apps: Sequence[Container]) -> list[str]:
    """Return the init containers the pod still waits for; none once it has been past them."""
    if any("waiting" not in one.state or one.last_state for one in apps):
        return []
    return [
        one.name for one in init if (one.exit_code != 0 if one.role == "init" else not one.started)
    ]


def _initialized_condition(
    init: Sequence[Container], apps: Sequence[Container], phase: str
) -> Object:
    if phase == "Succeeded":
        return _condition("Initialized", True, "PodCompleted")
    if not (incomplete := _incomplete(init, apps)):
        return _condition("Initialized", True)
    message = f"containers with incomplete status: [{' '.join(incomplete)}]"
    return _condition("Initialized", False, "ContainersNotInitialized", message)


def _containers_ready(init: Sequence[Container], apps: Sequence[Container], phase: str) -> Object:
    if phase == "Succeeded":
        return _condition("ContainersReady", False, "PodCompleted")
    if phase == "Failed":
        return _condition("ContainersReady", False, "PodFailed")
    counted = [one for one in init if one.role == "sidecar"] + list(apps)
    unready = [one.name for one in counted if not one.ready]
    if not unready:
        return _condition("ContainersReady", True)
    message = f"containers with unready status: [{' '.join(unready)}]"
    return _condition("ContainersReady", False, "ContainersNotReady", message)
