"""Requests to one API server: identity, retries, and errors with what to do next."""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from .._http.client import Answer, HttpClient
from .._http.errors import Cause, NoAnswer, SettingError
from .._http.retries import Retries
from .._http.tls import private_context
from .config import ClusterConfig
from .errors import ApiError, ConfigError, Unreachable

LARGEST_LINE = 8 << 20  # bytes of one event of a watch; etcd takes objects of 1.5 MB
EXPIRY_MARGIN = timedelta(seconds=30)  # by which credentials are renewed before they expire
_ADVICE = {
    Cause.CERTIFICATE: "set ca_cert to the cluster's CA, or renew the kubeconfig",
    Cause.CONNECTION: "is the cluster up, and host right?",
    Cause.FORMAT: "is host the address of a Kubernetes API server?",
    Cause.NAME: "correct host or the kubeconfig",
    Cause.PROXY: "correct option proxy, the kubeconfig's proxy-url, or HTTPS_PROXY and NO_PROXY",
    Cause.SIZE: "select fewer objects",
    Cause.TIMEOUT: "is the cluster up, and is a proxy or VPN needed?",
}
_ESCAPED_IN_YAML = re.compile(r"[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


class Transport:
    """Sends requests to one API server; safe to use from several threads.

    `timeout` is in seconds and holds for connecting and for each wait for bytes of an answer.
    """

    def __init__(
        self, config: ClusterConfig, *, timeout: float = 30.0, retries: Retries | None = None
    ) -> None:
        self.url = config.host.rstrip("/")
        self._timeout = timeout
        self.retries = retries or Retries()
        self._lock = threading.Lock()
        self._config = config
        self._http = self._client(config)
        self.requests = 0
        self.warnings: dict[str, None] = {}  # in order, each once

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
        as_text: bool = False,
    ) -> Any:
        """Send one request, again after transient failures; return the parsed JSON answer, or its text.

        The body decides what is JSON, not the content type: API servers send the index of
        /openapi/v3 as text/plain. `repeatable` is whether the request does no harm when it is carried
        out twice; by default all are (applies, merge patches and deletes are idempotent) but POST. `as_text`
        is for what is not JSON, such as logs.

        Raises ApiError for a status of 400 and more, Unreachable when there is no answer or one
        that is not JSON.
        """
        url = self.url + path
        target = url + (f"?{urlencode(query)}" if query else "")
        fields = [("Accept", accept), *(headers or {}).items()]
        payload = None
        if body is not None:
            payload = _encoded(body)
            fields.append(("Content-Type", content_type))

        attempts = 0

        def attempt() -> Answer:
            nonlocal attempts
            attempts += 1
            config = self._current()
            answer = self._send(config, method, target, fields, payload)
            if answer.status == 401 and self._renew(config):
                answer = self._send(self._config, method, target, fields, payload)
            if answer.status < 300 and not as_text:
                answer.json  # noqa: B018 - one that is cut is as good as none
            return answer

        try:
            answer = self.retries.send(
                attempt, repeatable=method != "POST" if repeatable is None else repeatable
            )
            return self._parsed(answer, path, repeated=attempts > 1, as_text=as_text)
        except NoAnswer as error:
            advice = _ADVICE[error.cause]
            raise Unreachable(
                f"{error}: {advice}", is_transient=error.is_transient, in_doubt=error.sent
            ) from error
        except SettingError as error:
            raise ConfigError(str(error)) from error

    def lines(self, path: str, *, query: Mapping[str, Any]) -> Iterator[Any]:
        """Send a GET request once; yield the answer's lines, parsed, as they arrive.

        Raises ApiError for a status of 400 and more, Unreachable when the answer is cut or a line is
        larger than LARGEST_LINE bytes.
        """
        url = f"{self.url}{path}?{urlencode(query)}"
        config = self._current()
        fields = [*_identity_headers(config), ("Accept", "application/json")]
        self.requests += 1
        try:
            with self._http.stream("GET", url, headers=fields) as (answer, chunks):
                if answer.status >= 300:
                    body = b"".join(itertools.islice(chunks, 100))
                    if answer.status == 401:
                        self._renew(config)  # for the next request
                    self._parsed(replace(answer, data=body), path, repeated=False)
                rest = b""
                for chunk in chunks:
                    *complete, rest = (rest + chunk).split(b"\n")
                    for line in complete:
                        yield replace(answer, data=line).json
                    if len(rest) > LARGEST_LINE:
                        text = f"{answer.request}: an event has more than {LARGEST_LINE} bytes"
                        raise NoAnswer(text, Cause.SIZE, sent=True)
        except NoAnswer as error:
            raise Unreachable(
                f"{error}: {_ADVICE[error.cause]}", is_transient=error.is_transient
            ) from error

    def close(self) -> None:
        """Close the connections, also of a watch that another thread reads."""
        self._http.close()

    def _client(self, config: ClusterConfig) -> HttpClient:
        secure = urlsplit(config.host).scheme == "https"
        pem = (config.ca_cert, config.client_cert, config.client_key)
        try:
            return HttpClient(
                private_context(*pem, verify=config.validate_certs) if secure else None,
                timeout=self._timeout,
                server_name=config.tls_server_name,
                proxy=config.proxy,
            )
        except SettingError as error:
            raise ConfigError(str(error)) from error

    def _send(
        self,
        config: ClusterConfig,
        method: str,
        url: str,
        headers: list[tuple[str, str]],
        body: bytes | None,
    ) -> Answer:
        self.requests += 1
        fields = [*_identity_headers(config), *headers]
        return self._http.request(method, url, headers=fields, body=body)

    def _current(self) -> ClusterConfig:
        """Return the configuration, with new credentials shortly before they expire."""
        config = self._config
        if config.expires and config.expires - datetime.now(UTC) < EXPIRY_MARGIN:
            self._renew(config)
        return self._config

    def _renew(self, refused: ClusterConfig) -> bool:
        """Get other credentials than these; return whether there are some."""
        with self._lock:
            if self._config is refused:
                renewed = refused.renewed()
                if renewed == refused:
                    return False
                if renewed.client_cert != refused.client_cert:
                    self._http = self._client(renewed)
                self._config = renewed
            return True

    def _parsed(self, answer: Answer, path: str, *, repeated: bool, as_text: bool = False) -> Any:
        for warning in answer.headers.getlist("Warning"):
            self.warnings[_warning_text(warning)] = None
        if answer.status < 300 and as_text:
            return answer.data.decode(errors="replace")
        if answer.status < 300:
            if not _is_of_the_api(answer.json, path):
                raise NoAnswer(
                    f"{answer.request} was answered with JSON that is not a Kubernetes object"
                    f" (HTTP {answer.status})",
                    Cause.FORMAT,
                    sent=True,
                )
            return answer.json
        if answer.status < 400:
            where = answer.headers.get("Location", "nowhere")
            raise NoAnswer(
                f"{answer.request} was redirected to {where} (HTTP {answer.status})",
                Cause.FORMAT,
                sent=True,
            )
        try:
            body = answer.json
        except NoAnswer:
            body = None
        if not isinstance(body, dict):
            body = {"message": " ".join(answer.data.decode(errors="replace")[:200].split())}
        raise ApiError(answer.status, body, answer.request, repeated=repeated)


def _is_of_the_api(body: Any, path: str) -> bool:
    """Return whether an answer has the form that all of the API's have; an app behind a proxy has its own."""
    if not isinstance(body, dict):
        return False
    is_object = path.startswith(("/api", "/apis")) and "/proxy" not in path
    return not is_object or isinstance(body.get("kind"), str)


def _encoded(body: Any) -> bytes:
    """Return JSON that is YAML too: API servers read applied objects as YAML.

    YAML has no surrogate pairs, so no escapes for characters beyond the basic plane; and it takes
    neither control characters nor its own line breaks as they are.
    """
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return _ESCAPED_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def _warning_text(header: str) -> str:
    """Return the text of `299 - "text"` (RFC 7234, the form the API server uses)."""
    parts = header.split('"')
    return parts[1] if len(parts) > 2 else header


def _identity_headers(config: ClusterConfig) -> list[tuple[str, str]]:
    headers = []
    if config.api_key:
        headers.append(("Authorization", f"Bearer {config.api_key}"))
    if config.impersonate_user:
        headers.append(("Impersonate-User", config.impersonate_user))
    headers += [("Impersonate-Group", group) for group in config.impersonate_groups]
    if config.impersonate_uid:
        headers.append(("Impersonate-Uid", config.impersonate_uid))
    for name, values in config.impersonate_extra:
        # As client-go escapes what a header's name may not hold.
        headers += [(f"Impersonate-Extra-{quote(name, safe='')}", value) for value in values]
    return headers
