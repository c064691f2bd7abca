"""HTTP to Google and to token endpoints, also as the transport of google-auth.

google-auth's own transports take neither the proxies nor the certificates of the HTTP layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._http.client import Answer, HttpClient
from .._http.errors import NoAnswer

LARGEST_ANSWER = 64 << 20  # bytes


class Http(HttpClient):
    """An HttpClient that google-auth can use too. `timeout` in seconds."""

    def __init__(self, timeout: float) -> None:
        super().__init__(timeout=timeout)

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
            return self.request(
                method, url, headers=headers or {}, body=data, timeout=timeout, limit=LARGEST_ANSWER
            )
        except NoAnswer as error:
            raise TransportError(str(error)) from error
