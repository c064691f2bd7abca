"""Which of the delivered posts are gone from X: a compliance job, on a schedule.

Contract: https://docs.x.com/x-api/compliance/batch-compliance. A job takes a list of ids and gives
those that have to go, with the reason; an app can have one job at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from twitter_producer import json_text
from twitter_producer.compliance_api import ComplianceApi, Job
from twitter_producer.delivered_posts import DeliveredPosts
from twitter_producer.errors import SourceError
from twitter_producer.progress import XPost
from twitter_producer.settings import Settings

log = logging.getLogger(__name__)

_CHUNK = 100
#: Between two looks at a job under way, and before a job that has failed is made again.
_POLL_SECONDS, _RETRY_SECONDS = 30.0, 900.0
#: Its addresses expire: after so long another job is made.
_LONGEST_JOB = timedelta(days=1)
#: The one reason for which a post may stay: only the place it was made at has to go.
_PLACE_ONLY = "scrub_geo"


class Compliance:
    """The delivered posts, the job that asks for them, and the deletions that came of it.

    A job survives a restart: its id is in the checkpoint until all of its deletions are delivered.
    """

    def __init__(self, settings: Settings, api: ComplianceApi, now: Callable[[], datetime]) -> None:
        self._api, self._now = api, now
        asks = settings.source != "replay"  # else there is no X
        self._interval = settings.compliance_interval_seconds if asks else 0.0
        self._keeps_place = "geo" in settings.post_fields
        self._delivered = DeliveredPosts()
        self._checked: datetime | None = None
        self._job, self._uploaded = "", False
        self._again_at = 0.0
        self._gone: list[XPost] = []

    @property
    def enabled(self) -> bool:
        """Whether X is asked at all."""
        return self._interval > 0

    def load(self, stored: dict[str, Any]) -> None:
        """Take over what `dump` returned; ValueError, KeyError or TypeError if it is not that."""
        self._delivered.load(stored["delivered"])
        self._checked = datetime.fromisoformat(stored["checked"]) if stored["checked"] else None
        self._job = str(stored["job"])

    def dump(self) -> dict[str, Any]:
        """Return what the next process has to know."""
        return {
            "delivered": self._delivered.dump(),
            "checked": self._checked.isoformat() if self._checked else "",
            "job": self._job,
        }

    def describe(self) -> dict[str, Any]:
        """Return how many posts are asked for, since when, and the job under way."""
        return {
            "posts": len(self._delivered),
            "checked": self._checked.isoformat() if self._checked else None,
            "job": self._job or None,
        }

    def remember(self, posts: Sequence[XPost], done: Sequence[bool]) -> None:
        """Record what was delivered: posts to ask for, or deletions that need no more asking."""
        if not self.enabled:
            return
        for post, delivered in zip(posts, done, strict=True):
            if delivered and not post.deleted:
                self._delivered.add(post.id)
        settled = {p.id for p, d in zip(posts, done, strict=True) if d and p.deleted}
        if settled:
            self._delivered.remove(settled)
            self._gone = [post for post in self._gone if post.id not in settled]
            if not self._gone:
                self._job = ""

    def deletions(self) -> list[XPost]:
        """Return the deletions to deliver next, after the next step of a job where that is due.

        What goes wrong is logged, and tried again later: the posts themselves do not wait for it.
        """
        if self.enabled and not self._gone and time.monotonic() >= self._again_at:
            try:
                self._again_at = time.monotonic() + self._step()
            except SourceError as error:
                wait = min(_RETRY_SECONDS, self._interval)
                self._again_at = time.monotonic() + wait
                log.warning(
                    "the compliance job cannot go on now",
                    extra={"error": str(error), "job": self._job, "next_in_seconds": wait},
                )
        return self._gone[:_CHUNK]

    def _step(self) -> float:
        """Do what comes next; return the seconds until the step after it."""
        now = self._now()
        if self._checked is None:
            self._checked = now
        if self._job and now - self._checked < _LONGEST_JOB:
            return self._look()
        due = self._checked + timedelta(seconds=self._interval)
        if now < due or not self._delivered:
            return min(_POLL_SECONDS, self._interval)
        job = self._api.create()
        self._job, self._uploaded, self._checked = job.id, False, now
        self._upload(job)
        return self._pause()

    def _upload(self, job: Job) -> None:
        ids = sorted(self._delivered.ids())
        self._api.upload(job.upload_url, ids)
        self._uploaded = True
        log.info("a compliance job has begun", extra={"posts": len(ids), "job": job.id})

    def _look(self) -> float:
        job = self._api.show(self._job)
        if job.status == "created" and not self._uploaded:
            self._upload(job)
        if job.status in {"created", "in_progress"}:  # without a list X ends it by itself
            return self._pause()
        if job.status != "complete":
            self._job = ""
            self._checked = self._now() - timedelta(seconds=self._interval)
            log.warning(
                "a compliance job failed at X: another one follows",
                extra={"job": job.id, "status": job.status},
            )
            return min(_RETRY_SECONDS, self._interval)
        ours = self._delivered.ids()
        found = {p.id: p for p in self._posts(self._api.download(job.download_url)) if p.id in ours}
        self._gone = list(found.values())
        log.info(
            "a compliance job is complete", extra={"posts": len(ours), "gone": len(self._gone)}
        )
        if not self._gone:
            self._job = ""
        return 0.0

    def _pause(self) -> float:
        return min(_POLL_SECONDS, self._interval / 10)

    def _posts(self, lines: Sequence[bytes]) -> Iterator[XPost]:
        """Yield the deletions that a job's result asks for."""
        for line in lines:
            try:
                entry = json_text.decode(line)
                post_id, action, reason = int(entry["id"]), entry["action"], str(entry["reason"])
            except (ValueError, KeyError, TypeError) as error:
                log.error("X's list of posts has a malformed line", extra={"error": repr(error)})
                continue
            if action != "delete" or (reason == _PLACE_ONLY and not self._keeps_place):
                continue
            data = {"id": str(post_id), "network": "x", "reason": reason}
            yield XPost(post_id, data, time=self._time(entry.get("redacted_at")), deleted=True)

    def _time(self, text: object) -> datetime:
        try:
            moment = datetime.fromisoformat(str(text))
        except ValueError:
            return self._now()
        return moment if moment.tzinfo else self._now()
