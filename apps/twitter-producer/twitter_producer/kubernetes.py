"""The little of the Kubernetes API that is needed, as the pod's own service account.

The kubernetes package would take more memory than all the rest together.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import urllib3

from twitter_producer.settings import Settings

_ACCOUNT = Path("var/run/secrets/kubernetes.io/serviceaccount")


class KubernetesError(Exception):
    """The API server refused or did not answer; status 0: no answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Kubernetes:
    """Requests to the API server of the cluster that this pod runs in."""

    def __init__(self, settings: Settings) -> None:
        root = Path(os.environ.get("CONTAINER_SANDBOX_MOUNT_POINT") or "/")
        self._account = root / _ACCOUNT
        host, port = (os.environ.get(f"KUBERNETES_SERVICE_{n}", "") for n in ("HOST", "PORT"))
        try:
            self.namespace = (self._account / "namespace").read_text().strip()
            context = ssl.create_default_context(cafile=str(self._account / "ca.crt"))
        except OSError as error:
            raise KubernetesError(
                0, f"not in a pod with a service account: {self._account}: {error.strerror}"
            ) from error
        if not host:
            raise KubernetesError(0, "not in a pod: KUBERNETES_SERVICE_HOST is not set")
        bracketed = f"[{host}]" if ":" in host else host
        self._url = f"https://{bracketed}:{port or 443}"
        self._pool = urllib3.PoolManager(
            num_pools=1,
            ssl_context=context,
            retries=False,
            timeout=urllib3.Timeout(total=settings.kubernetes_timeout_seconds),
        )

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the object that the API server answers with; KubernetesError else."""
        try:
            token = (self._account / "token").read_text().strip()  # renewed in place
            response = self._pool.request(
                method, self._url + path, json=body, headers={"Authorization": f"Bearer {token}"}
            )
            answer = response.json()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise KubernetesError(0, f"no answer from {self._url}: {error}") from error
        if response.status >= 400:
            raise KubernetesError(response.status, str(answer.get("message") or response.reason))
        assert isinstance(answer, dict)
        return answer
