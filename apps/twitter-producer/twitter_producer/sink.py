"""One attempt to hand a message to a sink, and what its answer means.

Contract: the data plane of Knative Eventing,
https://github.com/knative/specs/blob/main/specs/eventing/data-plane.md.
"""

from __future__ import annotations

import logging
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import certifi
from cloudevents.core.bindings.http import HTTPMessage
from urllib3.util import make_headers, parse_url

from twitter_producer.connections import Connections, Reply, Unreachable
from twitter_producer.http_answers import printable, retry_after
from twitter_producer.settings import Settings, without_secrets

log = logging.getLogger(__name__)

_RETRIED = {404, 408, 409, 429}
_UNAUTHORIZED = {401, 403}
_NO_ANSWER = 0
_LONGEST_TOKEN = 16 << 10
_TOKEN = re.compile(r"[!-~]+")


class TokenError(Exception):
    """The token for the sink cannot be used; the message names the file, never its content."""


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
    def unauthorized(self) -> bool:
        """Whether the sink refuses the sender rather than the message."""
        return self.status in _UNAUTHORIZED

    @property
    def retryable(self) -> bool:
        """Whether the message is sent again.

        As Knative's contract has it, but for 401 and 403: they tell that this producer's token is
        missing or wrong, which is mended without it, and no fault of the message.
        """
        retried = self.status in _RETRIED or self.status >= 500 or self.status == _NO_ANSWER
        return retried or self.unauthorized


class Sink:
    """A URL that takes CloudEvents; keeps its connections open. May be used by several threads.

    `shown` is the URL without what may be secret in it.
    """

    def __init__(self, url: str, settings: Settings, *, with_token: bool = True) -> None:
        self.shown = without_secrets(url)
        self._token_file = settings.sink_token_file if with_token else None
        self._oidc_token_file = settings.oidc_token_file if with_token else None
        self._headers = {}
        if auth := parse_url(url).auth:
            self._headers = make_headers(basic_auth=unquote(auth))
        trust = trusted(settings) if url.startswith("https:") else None
        self._connections = Connections(url, settings.delivery_timeout_seconds, trust)

    def send(self, message: HTTPMessage) -> Answer:
        """Make one attempt. Never raises for what a network or a sink may do."""
        try:
            headers = {**message.headers, **self._headers, **self._authorization()}
            reply = self._connections.post(message.body, headers)
        except (Unreachable, TokenError) as error:
            return Answer(_NO_ANSWER, printable(str(error)))
        if 200 <= reply.status < 300:
            return Answer(reply.status, printable(reply.reason))
        reason = printable(reply.body.decode(errors="replace")) or printable(reply.reason)
        return Answer(reply.status, reason, _retry_after(reply))

    def abort(self) -> None:
        """End the attempts under way: there is no time left to wait for an answer."""
        self._connections.abort()

    def _authorization(self) -> dict[str, str]:
        """Return the header with the token of the moment: both files are renewed in place."""
        token = None
        if self._token_file is not None:
            token = _token(self._token_file)
            if token is None:
                raise TokenError(f"SINK_TOKEN_FILE={self._token_file} is missing or empty")
        elif self._oidc_token_file is not None:
            token = _token(self._oidc_token_file)
        return {"Authorization": f"Bearer {token}"} if token else {}


def _token(path: Path) -> str | None:
    """Return the token in a file; None if the file is missing or empty."""
    try:
        with path.open("rb") as file:
            token = file.read(_LONGEST_TOKEN).strip().decode("ascii", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise TokenError(f"{path}: {error.strerror}") from error
    if token and not _TOKEN.fullmatch(token):
        raise TokenError(f"{path} is malformed: it contains whitespace or non-ASCII characters")
    return token or None


def trusted(settings: Settings) -> ssl.SSLContext:
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


def _retry_after(reply: Reply) -> float | None:
    """Return the seconds of a Retry-After, which counts for 429 and 503."""
    return retry_after(reply.headers.get("Retry-After")) if reply.status in {429, 503} else None
