"""HTTP to Google and to token endpoints, also as the transport of google-auth.

google-auth's own transports take neither the proxies nor the certificates of the HTTP layer.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from .._http.client import Answer, HttpClient
from .._http.errors import NoAnswer
from .._http.tls import public_context

LARGEST_ANSWER = 64 << 20  # bytes


class Http:
    """Sends requests to any host; safe to use from several threads. `timeout` in seconds."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._clients: dict[bool, HttpClient] = {}
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout: float | None = None,
    ) -> Answer:
        """Send one request; any status is an answer. Raises NoAnswer and SettingError."""
        return self._client(url).request(
            method, url, headers=headers, body=body, timeout=timeout, limit=LARGEST_ANSWER
        )

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Answer:
        """Send one request of google-auth's (`google.auth.transport.Request`)."""
        from google.auth.exceptions import (  # noqa: PLC0415 - an access token needs none of it
            TransportError,
        )

        data = body.encode() if isinstance(body, str) else body
        try:
            return self.request(method, url, data, headers or {}, timeout)
        except NoAnswer as error:
            raise TransportError(str(error)) from error

    def _client(self, url: str) -> HttpClient:
        """The client for a scheme: reading the system's certificates takes 80 ms."""
        secure = url.startswith("https:")
        with self._lock:
            if secure not in self._clients:
                context = public_context() if secure else None
                self._clients[secure] = HttpClient(context, timeout=self._timeout)
            return self._clients[secure]
