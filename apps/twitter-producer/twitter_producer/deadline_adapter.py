"""Requests of a library that uses `requests`, each bounded in time and size."""

from __future__ import annotations

import contextlib
import io
import os
import ssl
from typing import Any
from urllib.parse import urlsplit

import certifi
import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from twitter_producer.connections import Connections, Unreachable


class DeadlineAdapter(HTTPAdapter):
    """Sends the requests to one origin over `connections`, whose deadline and size limit hold.

    A stream has no deadline, only a time limit for each read.
    """

    def __init__(self, connections: Connections, timeout: float) -> None:
        super().__init__()
        self._connections, self._timeout = connections, timeout
        self._stream: requests.Response | None = None

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        """Send the request; requests.ConnectionError for whatever a network may do."""
        if not kwargs.get("stream"):
            return self._exchange(request)
        kwargs["proxies"] = get_environ_proxies(str(request.url))
        kwargs["timeout"] = kwargs.get("timeout") or self._timeout
        self._stream = super().send(request, *args, **kwargs)
        return self._stream

    def _exchange(self, request: requests.PreparedRequest) -> requests.Response:
        url = urlsplit(str(request.url))
        body = request.body or b""
        headers = {
            name: value.decode("latin-1") if isinstance(value, bytes) else value
            for name, value in request.headers.items()
            if name.lower() not in {"accept-encoding", "content-length"}
        }
        try:
            reply = self._connections.request(
                str(request.method),
                f"{url.path}?{url.query}" if url.query else url.path,
                body.encode() if isinstance(body, str) else body,
                headers,
            )
        except Unreachable as error:
            raise requests.ConnectionError(str(error)) from error
        if not reply.complete:
            raise requests.ConnectionError("the answer was cut off, or is too long")
        response = requests.Response()
        response.status_code, response.reason = reply.status, reply.reason
        response.headers.update(reply.headers.items())
        response.request, response.url = request, str(request.url)
        response.raw = io.BytesIO(reply.body)
        response.encoding = "utf-8"
        return response

    def hang_up(self) -> None:
        """Wake the thread that reads the stream: the connection ends."""
        with contextlib.suppress(OSError, ValueError, RuntimeError, AttributeError):  # it has ended
            if self._stream is not None:
                self._stream.raw.shutdown()


def trusted_authorities() -> ssl.SSLContext:
    """Return the authorities trusted for networks: the system's, Mozilla's, requests' variables'."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if bundle := os.environ.get(name):
            folder = os.path.isdir(bundle)
            context.load_verify_locations(**{"capath" if folder else "cafile": bundle})
    return context
