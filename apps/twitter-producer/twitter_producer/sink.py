"""One attempt to hand a message to a sink, and what its answer means.

Contract: the data plane of Knative Eventing,
https://github.com/knative/specs/blob/main/specs/eventing/data-plane.md.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import certifi
import urllib3
from cloudevents.core.bindings.http import HTTPMessage
from requests.utils import get_environ_proxies, select_proxy
from urllib3.util import parse_url

from twitter_producer.settings import Settings

#: Where Knative mounts the cluster's trust bundles.
TRUST_BUNDLES = Path("/knative-custom-certs")
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
        self._timeout = urllib3.Timeout(total=settings.delivery_timeout_seconds)
        self._token_file = settings.oidc_token_file if with_token else None
        trust = _trust(settings) if url.startswith("https:") else None
        size = settings.delivery_concurrency + 1
        proxy = select_proxy(url, get_environ_proxies(url))
        self._pool: urllib3.PoolManager | urllib3.HTTPConnectionPool
        if proxy:
            self._pool = urllib3.ProxyManager(proxy, maxsize=size, ssl_context=trust)
            self._target = url
        else:
            # Without the manager, which looks for the URL's pool each time: a fifth faster.
            manager = urllib3.PoolManager(maxsize=size, ssl_context=trust)
            self._pool = manager.connection_from_url(url)
            self._target = parse_url(url).request_uri

    def send(self, message: HTTPMessage) -> Answer:
        """Make one attempt. Never raises for what a network or a sink may do."""
        headers = dict(message.headers)
        try:
            if (token := self._token()) is not None:
                headers["Authorization"] = f"Bearer {token}"
            response = self._pool.urlopen(
                "POST",
                self._target,
                body=message.body,
                headers=headers,
                timeout=self._timeout,
                redirect=False,
                retries=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return Answer(_NO_ANSWER, _cause(error))
        reason = _excerpt(response.data) or response.reason or ""
        return Answer(response.status, reason, _retry_after(response))

    def _token(self) -> str | None:
        """Return the OIDC token of the moment; Knative renews the file."""
        if self._token_file is None:
            return None
        try:
            return self._token_file.read_text().strip() or None
        except (FileNotFoundError, NotADirectoryError):
            return None


def _trust(settings: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    for bundle in sorted(TRUST_BUNDLES.glob("*.pem")):
        context.load_verify_locations(bundle)
    if settings.k_ca_certs:
        context.load_verify_locations(cadata=settings.k_ca_certs)
    return context


def _cause(error: BaseException) -> str:
    """Return the innermost explanation, which names the real trouble."""
    while error.__context__ is not None:
        error = error.__context__
    return f"{type(error).__name__}: {error}"


def _excerpt(body: bytes) -> str:
    return " ".join(body[:500].decode(errors="replace").split())


def _retry_after(response: urllib3.BaseHTTPResponse) -> float | None:
    """Return the seconds of a Retry-After, which counts for 429 and 503."""
    value = response.headers.get("Retry-After")
    if value is None or response.status not in {429, 503}:
        return None
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
