"""Why the pods of a Revision do not run."""

from __future__ import annotations

from streamops_sandbox.controller import Object

#: (condition, reason, message) to mark False.
Problem = tuple[str, str, str]

_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_CONTAINER = (
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
)


def why_not_running(pods: list[Object], container: str) -> Problem | None:
    """Return what keeps the first troubled pod's container from running, or None."""
    for pod in pods:
        if pod["metadata"].get("deletionTimestamp"):
            continue
        state = pod.get("status") or {}
        for condition in state.get("conditions") or []:
            unschedulable = condition["type"] == "PodScheduled" and condition["status"] == "False"
            if unschedulable and condition.get("reason") == "Unschedulable":
                return "ResourcesAvailable", "Unschedulable", condition.get("message", "")
        for status in state.get("containerStatuses") or []:
            if status["name"] == container:
                problem = _of_container(status)
                if problem is not None:
                    return problem
    return None


def _of_container(status: Object) -> Problem | None:
    waiting = (status.get("state") or {}).get("waiting") or {}
    states = (status.get("state") or {}, status.get("lastState") or {})
    ended = next((s["terminated"] for s in states if s.get("terminated")), None)
    if ended is not None and (waiting.get("reason") in _CONTAINER or "terminated" in states[0]):
        code = ended.get("exitCode", 0)
        message = ended.get("message") or ended.get("reason") or f"exit code {code}"
        return "ContainerHealthy", f"ExitCode{code}", f"Container failed with: {message}"
    if waiting.get("reason") in _IMAGE:
        return "ResourcesAvailable", waiting["reason"], waiting.get("message", "")
    if waiting.get("reason") in _CONTAINER:
        return "ContainerHealthy", waiting["reason"], waiting.get("message", "")
    return None
