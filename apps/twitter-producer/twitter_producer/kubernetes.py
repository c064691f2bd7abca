"""The little of the Kubernetes API that is needed, as the pod's own service account.

The kubernetes package would take more memory than all the rest together.
"""

from __future__ import annotations

import os
import random
import ssl
import time
from typing import Any

from twitter_producer import json_text
from twitter_producer.connections import Connections, Reply, Unreachable
from twitter_producer.http_answers import printable, retry_after
from twitter_producer.settings import Settings

_LONGEST_OBJECT = 8 << 20  # a ConfigMap of 1 MiB, escaped, with what was kept aside
_FIRST_WAIT = 0.1
_LONGEST_WAIT = 5.0
_RETRIED = {429, 500, 502, 503, 504}


class KubernetesError(Exception):
    """The API server refused or did not answer; status 0: no answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Kubernetes:
    """Requests to the API server of the cluster that this pod runs in."""

    def __init__(self, settings: Settings) -> None:
        self._account = settings.service_account_dir
        self._seconds = settings.kubernetes_timeout_seconds
        host, port = (os.environ.get(f"KUBERNETES_SERVICE_{n}", "") for n in ("HOST", "PORT"))
        try:
            self.namespace = (self._account / "namespace").read_text().strip()
            trust = ssl.create_default_context(cafile=str(self._account / "ca.crt"))
        except OSError as error:
            raise KubernetesError(
                0, f"not in a pod with a service account: {self._account}: {error.strerror}"
            ) from error
        if not host:
            raise KubernetesError(0, "not in a pod: KUBERNETES_SERVICE_HOST is not set")
        bracketed = f"[{host}]" if ":" in host else host
        self._url = f"https://{bracketed}:{port or 443}"
        self._connections = Connections(
            self._url, self._seconds, trust, longest=_LONGEST_OBJECT, proxied=False
        )

    def request(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        seconds: float | None = None,
    ) -> dict[str, Any]:
        """Return the object that the API server answers with; KubernetesError else.

        Retried within the time limit: no answer, 429 (after its Retry-After) and 5xx. So a request
        may have been carried out although it fails, or before it succeeds: a write that brings 409
        has to be compared with what is stored.

        Args:
            method: such as GET.
            path: on the API server.
            body: sent as JSON.
            seconds: time limit of all attempts together, instead of KUBERNETES_TIMEOUT_SECONDS.
        """
        deadline = time.monotonic() + (self._seconds if seconds is None else seconds)
        wait = _FIRST_WAIT
        while True:
            asked = None
            try:
                reply = self._once(method, path, body, max(0.001, deadline - time.monotonic()))
                if reply.status not in _RETRIED:
                    return _object(reply)
                asked = retry_after(reply.headers.get("Retry-After"))
                problem = KubernetesError(reply.status, _message(reply))
            except (Unreachable, OSError) as error:
                problem = KubernetesError(0, f"no answer from {self._url}: {error}")
            pause = max(wait * random.uniform(0.5, 1), asked or 0)  # noqa: S311 - spreads load
            if time.monotonic() + pause >= deadline:
                raise problem
            time.sleep(pause)
            wait = min(_LONGEST_WAIT, wait * 2)

    def abort(self) -> None:
        """End the requests under way."""
        self._connections.abort()

    def _once(self, method: str, path: str, body: dict[str, Any] | None, seconds: float) -> Reply:
        token = (self._account / "token").read_text().strip()  # renewed in place
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        content = b""
        if body is not None:
            content = json_text.encode_any(body)
            headers["Content-Type"] = "application/json"
        return self._connections.request(method, path, content, headers, seconds)


def _object(reply: Reply) -> dict[str, Any]:
    if reply.status >= 400:
        raise KubernetesError(reply.status, _message(reply))
    try:
        answer = json_text.decode(reply.body) if reply.complete else None
    except ValueError:
        answer = None
    if not 200 <= reply.status < 300 or not isinstance(answer, dict):
        raise KubernetesError(0, f"{reply.status}: the answer is not an object of Kubernetes")
    return answer


def _message(reply: Reply) -> str:
    """Return what a Status says, or the beginning of an answer that is none."""
    try:
        said = json_text.decode(reply.body)["message"]
    except (ValueError, KeyError, TypeError):
        said = reply.body.decode(errors="replace")
    return printable(str(said)) or printable(reply.reason) or str(reply.status)
