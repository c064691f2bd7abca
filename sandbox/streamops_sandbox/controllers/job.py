"""Jobs: run pods, one after another, until one has succeeded.

Contract: https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

from __future__ import annotations

import copy
from datetime import UTC, datetime

from streamops_sandbox.controllers.workloads import (
    PodController,
    condition,
    is_active,
    is_ready,
    owned,
    pod_from,
    set_condition,
    without_zeros,
)
from streamops_sandbox.objects import Object
from streamops_sandbox.timestamps import now, parse

_BACKOFF_SECONDS = 10.0
_LONGEST_BACKOFF_SECONDS = 360.0
_REACHED = "Reached expected number of succeeded pods"
_EXCEEDED = "Job has reached the specified backoff limit"


class JobController(PodController):
    """Runs Jobs to completion or failure and removes those whose time is over."""

    api_version = "batch/v1"
    kind = "Job"
    unsupported = (
        *("activeDeadlineSeconds", "backoffLimitPerIndex", "completionMode=Indexed", "managedBy"),
        *("podFailurePolicy", "successPolicy"),
    )

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """See PodController; a finished Job only waits for the end of its time to live."""
        job = self.owners.get(name, namespace)
        if job is None or not (end := end_of(job)):
            await super().reconcile(namespace, name)
            return
        await self.delete(job, filter(is_active, owned(self._pods, job)))
        if (ttl := job["spec"].get("ttlSecondsAfterFinished")) is not None:
            age = (datetime.now(UTC) - parse(end["lastTransitionTime"])).total_seconds()
            if age < ttl:
                self.come_again(job, ttl - age)
            else:
                await self.client.delete(job, "Foreground")

    def refused(self, owner: Object) -> list[str]:
        """See PodController."""
        many = [key for key in ("completions", "parallelism") if owner["spec"].get(key, 1) != 1]
        return many + super().refused(owner)

    async def sync(self, owner: Object, pods: list[Object]) -> Exception | None:
        """See PodController."""
        if owner["spec"].get("suspend"):
            await self.delete(owner, filter(is_active, pods))
            return None
        idle = not any(map(is_active, pods)) and not _phases(pods, "Succeeded")
        if not idle or _failed(owner, pods) or self._delayed(owner, pods):
            return None
        stem = f"{owner['metadata']['name']}-"
        return await self.create(owner, [pod_from(owner, generateName=stem)])

    def _delayed(self, job: Object, pods: list[Object]) -> bool:
        """Whether a failed pod was so recent that the next one has to wait (10 s, 20 s, …)."""
        failed = _phases(pods, "Failed")
        if not failed:
            return False
        delay = min(_BACKOFF_SECONDS * 2 ** (len(failed) - 1), _LONGEST_BACKOFF_SECONDS)
        left: float = delay - (datetime.now(UTC) - max(map(_ended_at, failed))).total_seconds()
        if left > 0:
            self.come_again(job, left)
        return left > 0

    def status(self, owner: Object, pods: list[Object], failure: Exception | None) -> Object:
        """See PodController."""
        before = owner.get("status", {})
        active = [pod for pod in pods if is_active(pod)]
        conditions = copy.deepcopy(before.get("conditions") or [])
        suspended = bool(owner["spec"].get("suspend"))
        if suspended != (condition(owner, "Suspended").get("status") == "True"):
            verb = "suspended" if suspended else "resumed"
            text = (str(suspended), f"Job{verb.capitalize()}", f"Job {verb}")
            set_condition(conditions, "Suspended", *text, lastProbeTime=now())
            self.events.record(owner, "Normal", verb.capitalize(), f"Job {verb}")
        status: Object = {} if suspended else {"startTime": before.get("startTime") or now()}
        if _failed(owner, pods):
            _end(conditions, "FailureTarget", "Failed", "BackoffLimitExceeded", _EXCEEDED)
            self.events.record(owner, "Warning", "BackoffLimitExceeded", _EXCEEDED)
            active = []
        elif not active and _phases(pods, "Succeeded"):
            _end(conditions, "SuccessCriteriaMet", "Complete", "CompletionsReached", _REACHED)
            self.events.record(owner, "Normal", "Completed", "Job completed")
            status["completionTime"] = now()
        if conditions:
            status["conditions"] = conditions
        return status | {
            **without_zeros(
                active=len(active),
                succeeded=len(_phases(pods, "Succeeded")),
                failed=len(_phases(pods, "Failed")),
            ),
            "ready": sum(map(is_ready, active)),
            "terminating": sum(bool(pod["metadata"].get("deletionTimestamp")) for pod in pods),
            **({} if suspended else {"uncountedTerminatedPods": {}}),
        }


def end_of(job: Object) -> Object:
    """Return the condition that ended a Job, Complete or Failed, or {}."""
    ends = (condition(job, kind) for kind in ("Complete", "Failed"))
    return next((end for end in ends if end.get("status") == "True"), {})


def _end(conditions: list[Object], first: str, then: str, reason: str, message: str) -> None:
    """Set the condition of a Job's end after the one that, since 1.31, says it is on its way there."""
    for kind in (first, then):
        set_condition(conditions, kind, "True", reason, message, lastProbeTime=now())


def _failed(job: Object, pods: list[Object]) -> bool:
    """Whether pods failed, or containers of one that is restarted in place, too often."""
    limit = job["spec"].get("backoffLimit", 6)
    restarts = sum(
        entry["restartCount"]
        for pod in pods
        if is_active(pod) and pod["spec"]["restartPolicy"] == "OnFailure"
        for entry in pod.get("status", {}).get("containerStatuses") or []
    )
    return len(_phases(pods, "Failed")) > limit or bool(restarts and restarts >= max(limit, 1))


def _phases(pods: list[Object], phase: str) -> list[Object]:
    return [pod for pod in pods if pod.get("status", {}).get("phase") == phase]


def _ended_at(pod: Object) -> datetime:
    times = [
        parse(entry["state"]["terminated"]["finishedAt"])
        for entry in pod.get("status", {}).get("containerStatuses") or []
        if entry.get("state", {}).get("terminated")
    ]
    return max(times, default=datetime.now(UTC))
