"""CronJobs: a Job whenever the schedule says so."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.controller import Controller, owner_reference
from streamops_sandbox.controllers.job import end_of
from streamops_sandbox.controllers.workloads import owned, unsupported, write_status
from streamops_sandbox.cron import Schedule
from streamops_sandbox.objects import Object
from streamops_sandbox.timestamps import parse, rfc3339

_SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_UNSUPPORTED = ("concurrencyPolicy=Replace", "startingDeadlineSeconds")
#: The condition of finished Jobs -> the field that says how many are kept, and its default.
_LIMITS = {
    "Complete": ("successfulJobsHistoryLimit", 3),
    "Failed": ("failedJobsHistoryLimit", 1),
}


class CronJobController(Controller):
    """Creates Jobs on time and forgets old ones."""

    def __init__(self, client: Client) -> None:
        super().__init__(client, "cronjob-controller")
        self._cron_jobs = self.watch(client.informer("batch/v1", "CronJob"))
        self._jobs = self.watch_owned(client.informer("batch/v1", "Job"), "CronJob")

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Reconcile a CronJob."""
        cron_job = self._cron_jobs.get(name, namespace)
        if cron_job is None or cron_job["metadata"].get("deletionTimestamp"):
            return
        spec, status = cron_job["spec"], copy.deepcopy(cron_job.get("status") or {})
        if refused := unsupported(spec, _UNSUPPORTED):
            message = f"not supported by the sandbox: {', '.join(refused)}"
            self.events.record(cron_job, "Warning", "Unsupported", message)
            return
        jobs = owned(self._jobs, cron_job)
        await self._forget_old(cron_job, jobs)
        running = any(not end_of(job) for job in jobs)
        due = None if spec.get("suspend") else self._due(cron_job, status)
        if due is not None and not (running and spec.get("concurrencyPolicy") == "Forbid"):
            await self._create(cron_job, due)
            status["lastScheduleTime"] = rfc3339(datetime.now(UTC))
        status["active"] = [
            {"apiVersion": "batch/v1", "kind": "Job"}
            | {key: job["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
            for job in owned(self._jobs, cron_job)
            if not end_of(job)
        ]
        if not status["active"]:
            del status["active"]
        await write_status(self.client, cron_job, status)

    def _due(self, cron_job: Object, status: Object) -> datetime | None:
        """Return the time a Job is due for, if one is, and come again for the next.

        What was missed while the CronJob was suspended or busy is made up for once.
        """
        spec = cron_job["spec"]
        schedule, zone = Schedule.parse(spec["schedule"]), ZoneInfo(spec.get("timeZone") or "UTC")
        current = datetime.now(zone)
        if (following := schedule.next_after(current)) is not None:
            self.come_again(cron_job, (following - current).total_seconds())
        since = status.get("lastScheduleTime") or cron_job["metadata"]["creationTimestamp"]
        due = schedule.next_after(parse(since).astimezone(zone))
        return due if due is not None and due <= current else None

    async def _create(self, cron_job: Object, due: datetime) -> None:
        template, metadata = copy.deepcopy(cron_job["spec"]["jobTemplate"]), cron_job["metadata"]
        made = template.get("metadata") or {}
        name = f"{metadata['name']}-{int(due.timestamp()) // 60}"
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "labels": made.get("labels") or {},
                "annotations": (made.get("annotations") or {}) | {_SCHEDULED: rfc3339(due)},
                "ownerReferences": [owner_reference(cron_job)],
            },
            "spec": template["spec"],
        }
        try:
            await self.client.create(job)
        except ApiError as error:
            if not error.already_exists:  # by a reconciliation whose status was not written
                raise
        self.events.record(cron_job, "Normal", "SuccessfulCreate", f"Created job {name}")

    async def _forget_old(self, cron_job: Object, jobs: list[Object]) -> None:
        for kind, (field, default) in _LIMITS.items():
            done = [job for job in jobs if end_of(job).get("type") == kind]
            done.sort(key=lambda job: job["status"]["startTime"])
            for job in done[: max(0, len(done) - cron_job["spec"].get(field, default))]:
                await self.client.delete(job, "Background")
                message = f"Deleted job {job['metadata']['name']}"
                self.events.record(cron_job, "Normal", "SuccessfulDelete", message)
