"""CronJobs: a Job whenever the schedule says so."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.controller import Controller, owner_reference
from streamops_sandbox.controllers.workloads import condition, owned, write_status
from streamops_sandbox.cron import Schedule
from streamops_sandbox.events import EventRecorder
from streamops_sandbox.objects import Object
from streamops_sandbox.timestamps import parse, rfc3339

_SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_MANY_MISSED = 100


class CronJobController(Controller):
    """Creates Jobs on time and forgets old ones."""

    def __init__(self, client: Client, events: EventRecorder) -> None:
        super().__init__(client)
        self._events = events
        self._cron_jobs = self.watch(client.informer("batch/v1", "CronJob"))
        self._jobs = self.watch_owned(client.informer("batch/v1", "Job"), "CronJob")

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Reconcile a CronJob."""
        cron_job = self._cron_jobs.get(name, namespace)
        if cron_job is None or cron_job["metadata"].get("deletionTimestamp"):
            return
        jobs = owned(self._jobs, cron_job)
        status = copy.deepcopy(cron_job.get("status") or {})
        await self._forget_old(cron_job, jobs)
        if not cron_job["spec"].get("suspend"):
            await self._schedule(cron_job, jobs, status)
        jobs = owned(self._jobs, cron_job)
        running = [job for job in jobs if _end(job) is None]
        status.pop("active", None)
        if running:
            status["active"] = [_reference(job) for job in running]
        successes = [job["status"].get("completionTime") for job in jobs if _end(job) == "Complete"]
        if times := [time for time in successes if time]:
            status["lastSuccessfulTime"] = max([*times, status.get("lastSuccessfulTime", "")])
        await write_status(self.client, cron_job, status)

    async def _schedule(self, cron_job: Object, jobs: list[Object], status: Object) -> None:
        """Create the Job that is due, if one is, and come again for the next."""
        spec, metadata = cron_job["spec"], cron_job["metadata"]
        try:
            schedule = Schedule.parse(spec["schedule"])
            zone = ZoneInfo(spec["timeZone"]) if spec.get("timeZone") else UTC
        except (ValueError, ZoneInfoNotFoundError) as error:
            message = f"invalid schedule: {spec['schedule']}: {error}"
            self._events.record(cron_job, "Warning", "UnparseableSchedule", message)
            return
        current = datetime.now(UTC)
        since = parse(status.get("lastScheduleTime") or metadata["creationTimestamp"])
        deadline = spec.get("startingDeadlineSeconds")
        if deadline is not None:
            since = max(since, current - timedelta(seconds=deadline))
        due, following = _last_due(schedule, since.astimezone(zone), current.astimezone(zone))
        if following is not None:
            self.come_again(cron_job, [(following - current).total_seconds()])
        if due is None:
            return
        running = [job for job in jobs if _end(job) is None]
        policy = spec.get("concurrencyPolicy", "Allow")
        if running and policy == "Forbid":
            message = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self._events.record(cron_job, "Normal", "JobAlreadyActive", message)
            return
        if policy == "Replace":
            for job in running:
                await self._delete(cron_job, job)
        await self._create(cron_job, due)
        status["lastScheduleTime"] = rfc3339(due)

    async def _create(self, cron_job: Object, due: datetime) -> None:
        template = copy.deepcopy(cron_job["spec"]["jobTemplate"])
        metadata = cron_job["metadata"]
        name = f"{metadata['name']}-{int(due.timestamp()) // 60}"
        job_metadata = template.get("metadata") or {}
        annotations = {**(job_metadata.get("annotations") or {}), _SCHEDULED: rfc3339(due)}
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "labels": job_metadata.get("labels") or {},
                "annotations": annotations,
                "ownerReferences": [owner_reference(cron_job)],
            },
            "spec": template["spec"],
        }
        try:
            await self.client.create(job)
        except ApiError as error:
            if not error.already_exists:
                raise
            return
        self._events.record(cron_job, "Normal", "SuccessfulCreate", f"Created job {name}")

    async def _forget_old(self, cron_job: Object, jobs: list[Object]) -> None:
        spec = cron_job["spec"]
        limits = {
            "Complete": spec.get("successfulJobsHistoryLimit", 3),
            "Failed": spec.get("failedJobsHistoryLimit", 1),
        }
        for kind, limit in limits.items():
            done = [job for job in jobs if _end(job) == kind]
            done.sort(key=lambda job: job.get("status", {}).get("startTime", ""))
            for job in done[: max(0, len(done) - limit)]:
                await self._delete(cron_job, job)

    async def _delete(self, cron_job: Object, job: Object) -> None:
        await self.client.delete(job, "Background")
        message = f"Deleted job {job['metadata']['name']}"
        self._events.record(cron_job, "Normal", "SuccessfulDelete", message)


def _last_due(
    schedule: Schedule, since: datetime, current: datetime
) -> tuple[datetime | None, datetime | None]:
    """Return the latest time that is due since `since`, and the first one to come."""
    due = None
    following = schedule.next_after(since)
    for _ in range(_MANY_MISSED):
        if following is None or following > current:
            return due, following
        due, following = following, schedule.next_after(following)
    # Far behind: only the latest counts, as with Kubernetes.
    start = current - timedelta(minutes=1)
    return due, schedule.next_after(start)


def _end(job: Object) -> str | None:
    for kind in ("Complete", "Failed"):
        if condition(job, kind).get("status") == "True":
            return kind
    return None


def _reference(job: Object) -> Object:
    metadata = job["metadata"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"],
    }
