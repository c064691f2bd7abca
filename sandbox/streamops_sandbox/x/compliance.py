"""Batch compliance: jobs that say which posts of an uploaded list are gone.

Contract: https://docs.x.com/x-api/compliance/batch-compliance. X has lists and results in a storage
service, at addresses that are signed and expire; here they are below `/storage`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from streamops_sandbox.x.posts import Post, first_id, timestamp
from streamops_sandbox.x.problems import TYPES, Problem, invalid, not_modelled

REASONS = ("deleted", "deactivated", "suspended", "protected", "bounced", "scrub_geo")
_UPLOAD_FOR, _DOWNLOAD_FOR = timedelta(minutes=15), timedelta(days=7)


@dataclass
class _Job:
    id: str
    created: datetime
    signature: str = field(default_factory=lambda: secrets.token_hex(16))
    uploaded: datetime | None = None
    failed: bool = False
    results: str = ""


class Compliance:
    """The jobs of the one app, and the posts that are gone."""

    def __init__(self, base_url: str, now: Callable[[], datetime]) -> None:
        self._base_url, self._now = base_url.rstrip("/"), now
        self._gone: dict[str, dict[str, str]] = {}
        self._jobs: dict[str, _Job] = {}
        #: How long a job takes, and how many of the next ones fail.
        self.seconds, self.failures = 0.0, 0

    def note(self, post: Post, reason: str) -> None:
        """Record why a post has to go; ValueError for a reason that X does not give."""
        if reason not in REASONS:
            raise ValueError(f"reason: one of {', '.join(REASONS)}")
        self._gone[str(post.id)] = {
            "id": str(post.id),
            "action": "delete",
            "created_at": timestamp(post.published),
            "redacted_at": timestamp(self._now()),
            "reason": reason,
        }

    def create(self, body: Any) -> dict[str, Any]:
        """Return a new job; raises the 400 where one is under way."""
        if not isinstance(body, dict) or body.get("type") not in ("tweets", "users"):
            raise invalid("type", "", "The `type` field is required: tweets or users")
        if body["type"] == "users" or body.get("resumable"):
            raise not_modelled("compliance jobs of users, and resumable uploads")
        if any(self._status(job) in ("created", "in_progress") for job in self._jobs.values()):
            raise invalid("type", "tweets", "a compliance job of this type is under way already")
        job_id = first_id(self._now())
        while str(job_id) in self._jobs:
            job_id += 1
        job = self._jobs[str(job_id)] = _Job(str(job_id), self._now())
        return self._describe(job)

    def show(self, job_id: str) -> dict[str, Any]:
        """Return a job; raises the 404."""
        if job_id not in self._jobs:
            raise Problem(
                404,
                "Not Found Error",
                f"Could not find anything with id: [{job_id}].",
                type=TYPES + "resource-not-found",
                parameter="id",
                value=job_id,
                resource_id=job_id,
                resource_type="compliance_job",
            )
        return self._describe(self._jobs[job_id])

    async def upload(self, request: web.Request) -> web.Response:
        """PUT the list, an id a line, as the storage service takes it."""
        job = self._signed(request, _UPLOAD_FOR)
        if request.content_type != "text/plain":
            raise web.HTTPForbidden(text="the signature is for Content-Type: text/plain")
        lines = (await request.text()).split()
        job.failed |= self.failures > 0 or not all(line.isdecimal() for line in lines)
        self.failures = max(0, self.failures - 1)
        job.results = "".join(json.dumps(self._gone[i]) + "\n" for i in lines if i in self._gone)
        job.uploaded = self._now()
        return web.Response()

    async def download(self, request: web.Request) -> web.Response:
        """GET the results, a JSON object a line."""
        job = self._signed(request, _DOWNLOAD_FOR)
        if self._status(job) != "complete":
            raise web.HTTPNotFound(text="NoSuchKey")
        return web.Response(text=job.results, content_type="application/octet-stream")

    def _signed(self, request: web.Request, valid_for: timedelta) -> _Job:
        job = self._jobs.get(request.match_info["id"])
        if job is None or request.query.get("signature") != job.signature:
            raise web.HTTPForbidden(text="SignatureDoesNotMatch")
        if self._now() > job.created + valid_for:
            raise web.HTTPBadRequest(text="ExpiredToken")
        return job

    def _status(self, job: _Job) -> str:
        if job.uploaded is None:
            return "created" if self._now() <= job.created + _UPLOAD_FOR else "expired"
        if self._now() < job.uploaded + timedelta(seconds=self.seconds):
            return "in_progress"
        return "failed" if job.failed else "complete"

    def _describe(self, job: _Job) -> dict[str, Any]:
        place = f"{self._base_url}/storage/compliance/{job.id}"
        return {
            "id": job.id,
            "type": "tweets",
            "status": self._status(job),
            "resumable": False,
            "created_at": timestamp(job.created),
            "upload_url": f"{place}/submission?signature={job.signature}",
            "upload_expires_at": timestamp(job.created + _UPLOAD_FOR),
            "download_url": f"{place}/delivery?signature={job.signature}",
            "download_expires_at": timestamp(job.created + _DOWNLOAD_FOR),
        }
