"""The summary of a pod's state in one line, as kubectl prints it."""

from __future__ import annotations

from typing import Any

from streamops_sandbox.kube import clock

Json = dict[str, Any]
_NONE = "<none>"


def _statuses(pod: Json, key: str) -> list[Json]:
    found: list[Json] = (pod.get("status") or {}).get(key) or []
    return found


def ready(pod: Json) -> str:
    """Return `1/2`: containers that are ready, and containers there are."""
    total = len((pod.get("spec") or {}).get("containers") or [])
    count = sum(1 for status in _statuses(pod, "containerStatuses") if status.get("ready"))
    return f"{count}/{total}"


def _init_reason(pod: Json) -> str:
    total = len((pod.get("spec") or {}).get("initContainers") or [])
    for index, status in enumerate(_statuses(pod, "initContainerStatuses")):
        state = status.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting")
        if ended and ended.get("exitCode", 0) == 0:
            continue
        if ended:
            return f"Init:{ended.get('reason') or 'ExitCode:' + str(ended.get('exitCode'))}"
        if waiting and waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{total}"
    return ""


def status(pod: Json) -> str:
    """Return the word under STATUS."""
    state = pod.get("status") or {}
    reason = state.get("reason") or state.get("phase") or ""
    initializing = _init_reason(pod)
    if initializing:
        reason = initializing
    else:
        running = False
        for container in reversed(_statuses(pod, "containerStatuses")):
            now = container.get("state") or {}
            waiting, ended = now.get("waiting") or {}, now.get("terminated") or {}
            if waiting.get("reason"):
                reason = waiting["reason"]
            elif ended.get("reason"):
                reason = ended["reason"]
            elif "terminated" in now:
                reason = f"ExitCode:{ended.get('exitCode', 0)}"
            elif container.get("ready") and "running" in now:
                running = True
        if reason == "Completed" and running:
            reason = "Running" if _is_ready(pod) else "NotReady"
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return reason


def _is_ready(pod: Json) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in _statuses(pod, "conditions")
    )


def restarts(pod: Json) -> str:
    """Return how often containers were restarted, and when last."""
    count, last = 0, ""
    for container in _statuses(pod, "containerStatuses"):
        count += container.get("restartCount", 0)
        ended = (container.get("lastState") or {}).get("terminated") or {}
        last = max(last, ended.get("finishedAt") or "")
    return f"{count} ({clock.age(last)} ago)" if count and last else str(count)


def gates(pod: Json) -> str:
    """Return `1/2`: readiness gates that hold, and gates there are."""
    gates = (pod.get("spec") or {}).get("readinessGates") or []
    if not gates:
        return _NONE
    held = {c["type"] for c in _statuses(pod, "conditions") if c["status"] == "True"}
    return f"{sum(1 for gate in gates if gate['conditionType'] in held)}/{len(gates)}"
