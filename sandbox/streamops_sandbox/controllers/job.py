"""Jobs: run pods until enough of them have succeeded.

Contract: https://kubernetes.io/docs/concepts/workloads/controllers/job/ . Not modelled: completion
by index, pod failure policies, success policies and `managedBy`; such Jobs get an event and are
left alone.
"""

from __future__ import annotations

import copy
from datetime import UTC, datetime

from streamops_sandbox.client import Client
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
    write_status,
)
from streamops_sandbox.events import EventRecorder
from streamops_sandbox.objects import Object
from streamops_sandbox.timestamps import now, parse

_BACKOFF_SECONDS = 10.0
_LONGEST_BACKOFF_SECONDS = 360.0
_UNSUPPORTED = ("podFailurePolicy", "successPolicy", "managedBy", "backoffLimitPerIndex")


class JobController(Controller):
    """Runs Jobs to completion or failure and removes those whose time is over."""

    def __init__(self, client: Client, events: EventRecorder) -> None:
        super().__init__(client)
        self._events = events
        self._jobs = self.watch(client.informer("batch/v1", "Job"))
        self._pods = self.watch_owned(client.informer("v1", "Pod"), "Job")

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Reconcile a Job."""
        job = self._jobs.get(name, namespace)
        if job is None or job["metadata"].get("deletionTimestamp"):
            return
        unsupported = [field for field in _UNSUPPORTED if job["spec"].get(field)]
        if job["spec"].get("completionMode") == "Indexed":
            unsupported.append("completionMode Indexed")
        if unsupported:
            message = f"not supported by the sandbox: {', '.join(unsupported)}"
            self._events.record(job, "Warning", "Unsupported", message)
            return
        if _finished(job):
            await self._expire(job)
            return
        pods = await claim(self.client, self._pods, job)
        failure = self._failure(job, pods)
        if failure is not None:
            await self._fail(job, pods, *failure)
        elif job["spec"].get("suspend"):
            await self._suspend(job, pods)
        else:
            await self._progress(job, pods)

    # -- progress --------------------------------------------------------------------------------

    async def _progress(self, job: Object, pods: list[Object]) -> None:
        spec = job["spec"]
        succeeded = [pod for pod in pods if _phase(pod) == "Succeeded"]
        active = [pod for pod in pods if is_active(pod)]
        completions, parallelism = spec.get("completions"), spec.get("parallelism", 1)
        # Without a number of completions, one success ends the Job once the others have ended.
        complete = len(succeeded) >= completions if completions is not None else bool(succeeded)
        if complete and not active:
            await self._write_status(job, pods, ("Complete", "CompletionsReached", _REACHED))
            self._events.record(job, "Normal", "Completed", "Job completed")
            return
        if completions is not None:
            wanted = min(parallelism, completions - len(succeeded))
        else:
            wanted = len(active) if succeeded else parallelism
        if len(active) > wanted:
            await delete_pods(self.client, active[wanted:])
        elif len(active) < wanted and not self._delayed(job, pods):
            await self._create(job, wanted - len(active))
            pods = await claim(self.client, self._pods, job)
        await self._write_status(job, pods, None)

    async def _create(self, job: Object, count: int) -> None:
        template, stem = job["spec"]["template"], f"{job['metadata']['name']}-"
        pods = [pod_from(template, job, generateName=stem) for _ in range(count)]
        failure = await create_pods(self.client, self._events, job, pods)
        if failure is not None:
            raise failure

    def _delayed(self, job: Object, pods: list[Object]) -> bool:
        """Whether a failed pod was so recent that the next one has to wait (10 s, 20 s, …)."""
        failed = [pod for pod in pods if _phase(pod) == "Failed"]
        if not failed:
            return False
        last = max(_ended_at(pod) for pod in failed)
        delay = min(_BACKOFF_SECONDS * 2 ** (len(failed) - 1), _LONGEST_BACKOFF_SECONDS)
        left: float = delay - (datetime.now(UTC) - last).total_seconds()
        if left > 0:
            self.come_again(job, [left])
        return left > 0

    # -- ends ------------------------------------------------------------------------------------

    def _failure(self, job: Object, pods: list[Object]) -> tuple[str, str] | None:
        spec, status = job["spec"], job.get("status", {})
        deadline = spec.get("activeDeadlineSeconds")
        if deadline is not None and status.get("startTime") and not spec.get("suspend"):
            age = (datetime.now(UTC) - parse(status["startTime"])).total_seconds()
            if age >= deadline:
                return "DeadlineExceeded", "Job was active longer than specified deadline"
            self.come_again(job, [deadline - age])
        limit = spec.get("backoffLimit", 6)
        failed = sum(_phase(pod) == "Failed" for pod in pods)
        restarts = 0
        if spec["template"]["spec"].get("restartPolicy") == "OnFailure":
            restarts = sum(_restarts(pod) for pod in pods if is_active(pod))
        if failed > limit or (restarts and restarts >= max(limit, 1)):
            return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        return None

    async def _fail(self, job: Object, pods: list[Object], reason: str, message: str) -> None:
        await delete_pods(self.client, [pod for pod in pods if is_active(pod)])
        if any(is_active(pod) for pod in pods):
            pods = await claim(self.client, self._pods, job)
        await self._write_status(job, pods, ("Failed", reason, message))
        self._events.record(job, "Warning", reason, message)

    async def _suspend(self, job: Object, pods: list[Object]) -> None:
        await delete_pods(self.client, [pod for pod in pods if is_active(pod)])
        await self._write_status(job, pods, None)

    async def _expire(self, job: Object) -> None:
        """Delete a finished Job when its time to live is over."""
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is None:
            return
        done = condition(job, "Complete") or condition(job, "Failed")
        age = (datetime.now(UTC) - parse(done["lastTransitionTime"])).total_seconds()
        if age < ttl:
            self.come_again(job, [ttl - age])
            return
        await self.client.delete(job, "Foreground")

    # -- status ----------------------------------------------------------------------------------

    async def _write_status(
        self, job: Object, pods: list[Object], end: tuple[str, str, str] | None
    ) -> None:
        before, suspended = job.get("status", {}), bool(job["spec"].get("suspend"))
        active = [pod for pod in pods if is_active(pod)]
        succeeded = [pod for pod in pods if _phase(pod) == "Succeeded"]
        conditions = copy.deepcopy(before.get("conditions") or [])
        status: Object = {"conditions": conditions}
        if suspended:
            probed = condition(job, "Suspended").get("lastProbeTime") or now()
            text = ("True", "JobSuspended", "Job suspended")
            set_condition(conditions, "Suspended", *text, lastProbeTime=probed)
            active = []
        else:
            status["startTime"] = before.get("startTime") or now()
            if condition(job, "Suspended").get("status") == "True":
                text = ("False", "JobResumed", "Job resumed")
                set_condition(conditions, "Suspended", *text, lastProbeTime=now())
                status["startTime"] = now()
        if end is not None:
            kind, reason, message = end
            # Since 1.31 a Job is first told to be on its way to its end.
            before_end = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
            for one in (before_end, kind):
                set_condition(conditions, one, "True", reason, message, lastProbeTime=now())
            if kind == "Complete":
                status["completionTime"] = now()
            active = []
        counts = {
            "active": len(active),
            "succeeded": len(succeeded),
            "failed": sum(_phase(pod) == "Failed" for pod in pods),
        }
        status |= {key: value for key, value in counts.items() if value}
        status["ready"] = sum(is_ready(pod) for pod in active)
        status["terminating"] = sum(bool(pod["metadata"].get("deletionTimestamp")) for pod in pods)
        status["uncountedTerminatedPods"] = {}
        if not conditions:
            del status["conditions"]
        await write_status(self.client, job, status)


_REACHED = "Reached expected number of succeeded pods"


def _finished(job: Object) -> bool:
    return any(condition(job, kind).get("status") == "True" for kind in ("Complete", "Failed"))


def _phase(pod: Object) -> str:
    return str(pod.get("status", {}).get("phase", ""))


def _restarts(pod: Object) -> int:
    statuses = pod.get("status", {}).get("containerStatuses") or []
    return sum(entry["restartCount"] for entry in statuses)


def _ended_at(pod: Object) -> datetime:
    times = [
        parse(entry["state"]["terminated"]["finishedAt"])
        for entry in pod.get("status", {}).get("containerStatuses") or []
        if entry.get("state", {}).get("terminated")
    ]
    return max(times, default=datetime.now(UTC))
