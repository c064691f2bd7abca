"""Requests to one API server: identity, retries, and errors with what to do next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from ansible_collections.streamops.knative.plugins.module_utils._http.client import (
    Answer,
    HttpClient,
)
from ansible_collections.streamops.knative.plugins.module_utils._http.errors import (
    Cause,
    NoAnswer,
    SettingError,
)
from ansible_collections.streamops.knative.plugins.module_utils._http.retries import Retries
from ansible_collections.streamops.knative.plugins.module_utils._http.tls import private_context
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.config import (
    ClusterConfig,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import (
    ApiError,
    ConfigError,
    Unreachable,
)

_ADVICE = {
    Cause.CERTIFICATE: "set ca_cert to the cluster's CA, or renew the kubeconfig",
    Cause.CONNECTION: "is the cluster up, and host right?",
    Cause.FORMAT: "is host the address of a Kubernetes API server?",
    Cause.NAME: "correct host or the kubeconfig",
    Cause.PROXY: "correct option proxy, the kubeconfig's proxy-url, or HTTPS_PROXY and NO_PROXY",
    Cause.SIZE: "select fewer objects",
    Cause.TIMEOUT: "is the cluster up, and is a proxy or VPN needed?",
}


class Transport:
    """Sends requests to one API server; safe to use from several threads.

    `timeout` is in seconds and holds for connecting and for each wait for bytes of an answer.
    """

    def __init__(
        self, config: ClusterConfig, *, timeout: float = 30.0, retries: Retries | None = None
    ) -> None:
        self._url = config.host.rstrip("/")
        self._headers = _identity_headers(config)
        self._retries = retries or Retries()
        self.requests = 0
        self.warnings: dict[str, None] = {}  # in order, each once
        secure = urlsplit(config.host).scheme == "https"
        try:
            self._http = HttpClient(
                _context(config) if secure else None,
                timeout=timeout,
                server_name=config.tls_server_name,
                proxy=config.proxy,
            )
        except SettingError as error:
            raise ConfigError(str(error)) from error

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
    ) -> Any:
        """Send one request, again after transient failures; return the parsed JSON answer.

        The body decides what is JSON, not the content type: API servers send the index of
        /openapi/v3 as text/plain.

        Raises ApiError for a status of 400 and more, Unreachable when there is no answer or one
        that is not JSON.
        """
        url = self._url + path
        target = url + (f"?{urlencode(query)}" if query else "")
        fields = [*self._headers, ("Accept", accept), *(headers or {}).items()]
        payload = None
        if body is not None:
            payload = json.dumps(body, separators=(",", ":")).encode()
            fields.append(("Content-Type", content_type))

        def attempt() -> Answer:
            self.requests += 1
            answer = self._http.request(method, target, headers=fields, body=payload)
            if answer.status < 300:
                answer.json  # noqa: B018 - one that is cut is as good as none
            return answer

        try:
            # Applies, merge patches and deletes are idempotent.
            answer = self._retries.send(attempt, repeatable=method != "POST")
            return self._parsed(answer)
        except NoAnswer as error:
            advice = _ADVICE[error.cause]
            raise Unreachable(f"{error}: {advice}") from error
        except SettingError as error:
            raise ConfigError(str(error)) from error

    def close(self) -> None:
        """Close the idle connections."""
        self._http.close()

    def _parsed(self, answer: Answer) -> Any:
        for warning in answer.headers.getlist("Warning"):
            self.warnings[_warning_text(warning)] = None
        if answer.status < 300:
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
            body = {"message": answer.data.decode(errors="replace")[:500]}
        raise ApiError(answer.status, body, answer.request)


def _context(config: ClusterConfig) -> Any:
    return private_context(
        config.ca_cert, config.client_cert, config.client_key, verify=config.validate_certs
    )


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
    return headers
