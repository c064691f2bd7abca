"""X's batch compliance: create a job, upload its list, see how it is, download the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import tweepy

from twitter_producer.connections import Connections, Reply, Unreachable
from twitter_producer.deadline_adapter import trusted_authorities
from twitter_producer.errors import Unavailable
from twitter_producer.x import XApi

#: A line for each of the ids that may be asked for, some 150 bytes each.
_LONGEST_RESULT = 16 << 20


@dataclass(frozen=True)
class Job:
    """A compliance job; its addresses carry their own authorisation, and expire."""

    id: str
    status: str
    upload_url: str
    download_url: str


class ComplianceApi:
    """Requests for jobs; `bearer` returns an app-only bearer, and X takes nothing else here."""

    def __init__(self, api: XApi, bearer: Callable[[], str]) -> None:
        self._api, self._bearer = api, bearer

    def create(self) -> Job:
        """Create a job for posts; raises SourceError."""
        return self._job(self._api.request(self._client().create_compliance_job, "tweets"))

    def show(self, job_id: str) -> Job:
        """Return a job as it is now; raises SourceError."""
        return self._job(self._api.request(self._client().get_compliance_job, job_id))

    def upload(self, url: str, post_ids: Sequence[int]) -> None:
        """Upload the list of a job, which begins it; raises Unavailable."""
        body = "".join(f"{post_id}\n" for post_id in post_ids).encode()
        self._exchange("PUT", url, body, {"Content-Type": "text/plain"})

    def download(self, url: str) -> list[bytes]:
        """Return the lines of a job's result; raises Unavailable."""
        return self._exchange("GET", url, b"", {}).body.splitlines()

    def _client(self) -> tweepy.Client:
        client = tweepy.Client(self._bearer(), return_type=requests.Response)
        self._api.mount(client.session)
        return client

    def _job(self, answer: dict[str, Any]) -> Job:
        job = answer.get("data")
        names = ("id", "status", "upload_url", "download_url")
        if not isinstance(job, dict) or not all(isinstance(job.get(name), str) for name in names):
            raise Unavailable("X answered with something that is not a compliance job")
        return Job(*(job[name] for name in names))

    def _exchange(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> Reply:
        parts = urlsplit(url)
        if parts.scheme != urlsplit(self._api.url).scheme or not parts.hostname:
            raise Unavailable("X names an address for a compliance job that cannot be used")
        trust = trusted_authorities() if parts.scheme == "https" else None
        connections = Connections(url, self._api.timeout, trust, longest=_LONGEST_RESULT)
        try:
            target = f"{parts.path}?{parts.query}"
            reply = connections.request(method, target, body, headers)
        except (Unreachable, ValueError) as error:
            raise Unavailable(f"no answer from X's storage: {error}") from error
        finally:
            connections.close()
        if reply.status != 200 or not reply.complete:
            raise Unavailable(f"X's storage answered {reply.status}, or only in part")
        return reply
