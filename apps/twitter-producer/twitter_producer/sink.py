"""One attempt to hand a message to a sink, and what its answer means.

Contract: the data plane of Knative Eventing,
https://github.com/knative/specs/blob/main/specs/eventing/data-plane.md.
"""

from __future__ import annotations

import logging
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import certifi
from cloudevents.core.bindings.http import HTTPMessage

from twitter_producer.connections import Connections, Reply, Unreachable
from twitter_producer.settings import Settings

log = logging.getLogger(__name__)

_RETRIED = {404, 408, 409, 429}
_NO_ANSWER = 0


@dataclass(frozen=True)
class Answer:
    """What came of an attempt; status 0: there was no answer."""

    status: int
    reason: str
    retry_after: float | None = None

    @property
    def accepted(self) -> bool:
        """Whether the sink has taken the message."""
        return 200 <= self.status < 300

    @property
    def retryable(self) -> bool:
        """Whether Knative's contract has the message sent again."""
        return self.status in _RETRIED or self.status >= 500 or self.status == _NO_ANSWER


class Sink:
    """A URL that takes CloudEvents; keeps its connections open. May be used by several threads."""

    def __init__(self, url: str, settings: Settings, *, with_token: bool = True) -> None:
        self.url = url
        self._token_file = settings.oidc_token_file if with_token else None
        trust = _trust(settings) if url.startswith("https:") else None
        self._connections = Connections(url, settings.delivery_timeout_seconds, trust)

    def send(self, message: HTTPMessage) -> Answer:
        """Make one attempt. Never raises for what a network or a sink may do."""
        headers = dict(message.headers)
        try:
            if (token := self._token()) is not None:
                headers["Authorization"] = f"Bearer {token}"
            reply = self._connections.post(message.body, headers)
        except (Unreachable, OSError) as error:
            return Answer(_NO_ANSWER, str(error))
        if 200 <= reply.status < 300:
            return Answer(reply.status, reply.reason)
        return Answer(reply.status, _excerpt(reply.body) or reply.reason, _retry_after(reply))

    def _token(self) -> str | None:
        """Return the OIDC token of the moment; Knative renews the file."""
        if self._token_file is None:
            return None
        try:
            return self._token_file.read_text().strip() or None
        except (FileNotFoundError, NotADirectoryError):
            return None


def _trust(settings: Settings) -> ssl.SSLContext:
    """Return the authorities to trust: the system's, Mozilla's, the cluster's and K_CA_CERTS."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    bundles = settings.ca_bundles_dir
    for bundle in sorted(bundles.glob("*.pem")) if bundles else []:
        try:
            context.load_verify_locations(bundle)
        except OSError as error:
            log.error(
                "a trust bundle cannot be used", extra={"file": str(bundle), "error": str(error)}
            )
    if settings.k_ca_certs:
        context.load_verify_locations(cadata=settings.k_ca_certs)
    return context


def _excerpt(body: bytes) -> str:
    return " ".join(body[:500].decode(errors="replace").split())


def _retry_after(reply: Reply) -> float | None:
    """Return the seconds of a Retry-After, which counts for 429 and 503."""
    value = reply.headers.get("Retry-After")
    if value is None or reply.status not in {429, 503}:
        return None
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
