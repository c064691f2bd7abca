"""HTTP connections to one URL, kept open: one request at a time each.

On the standard library's client: urllib3's pool, for all that it does with each request, takes
three times as long for one that is as small as a post.
"""

from __future__ import annotations

import http.client
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from requests.utils import get_environ_proxies, select_proxy
from urllib3.util import Url, make_headers, parse_url, wait_for_read

_LONGEST_BODY = 64 << 10


class Unreachable(Exception):
    """There was no answer, or none that is HTTP; whether the request arrived is not known."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; of a body beyond 64 KiB only the beginning."""

    status: int
    reason: str
    headers: http.client.HTTPMessage
    body: bytes


class _OnePiece(http.client.HTTPConnection):
    """Sends head and body at once: who reads them wakes up once, not twice."""

    _held: list[Any] | None = None

    def send(self, data: Any) -> None:
        if self._held is None:
            super().send(data)
        else:
            self._held.append(data)

    def exchange(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Make a request; the connection can be used again if nothing is raised."""
        if self.sock is None:
            self.connect()
        self._held = []
        try:
            self.request(method, target, body, headers)
            pieces = self._held
        finally:
            self._held = None
        self.send(b"".join(pieces))
        response = self.getresponse()
        content = response.read(_LONGEST_BODY)
        if not response.isclosed():
            self.close()
        return Reply(response.status, response.reason, response.headers, content)

    def stale(self) -> bool:
        """Whether the other side has hung up meanwhile."""
        return self.sock is not None and wait_for_read(self.sock, timeout=0)


class _OnePieceTls(_OnePiece, http.client.HTTPSConnection):
    """The same over TLS."""


class Connections:
    """POSTs to a URL, directly or through the proxy of the environment; for several threads."""

    def __init__(self, url: str, timeout: float, trust: ssl.SSLContext | None) -> None:
        self._url, self._timeout, self._trust = parse_url(url), timeout, trust
        proxy = select_proxy(url, get_environ_proxies(url))
        self._proxy = parse_url(proxy) if proxy else None
        self._headers: dict[str, str] = {}
        self._target = self._url.request_uri
        if self._proxy is not None and trust is None:
            self._target = self._url.url
            self._headers = _authorization(self._proxy)
        self._idle: deque[_OnePiece] = deque()

    def post(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send once; Unreachable for whatever a network may do."""
        connection = self._take()
        try:
            reply = connection.exchange("POST", self._target, body, {**self._headers, **headers})
        except (http.client.HTTPException, OSError, ValueError) as error:
            connection.close()
            raise Unreachable(f"{type(error).__name__}: {error}") from error
        self._idle.append(connection)
        return reply

    def close(self) -> None:
        """Let go of the connections that are not in use."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> _OnePiece:
        """Return the connection that was used last, or a new one."""
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._make()
        if connection.stale():
            connection.close()
        return connection

    def _make(self) -> _OnePiece:
        host, port = _address(self._proxy or self._url)
        if self._trust is None:
            return _OnePiece(host, port, timeout=self._timeout)
        made = _OnePieceTls(host, port, timeout=self._timeout, context=self._trust)
        if self._proxy is not None:
            made.set_tunnel(*_address(self._url), _authorization(self._proxy))
        return made


def _address(url: Url) -> tuple[str, int]:
    return str(url.host), url.port or (443 if url.scheme == "https" else 80)


def _authorization(proxy: Url) -> dict[str, str]:
    return make_headers(proxy_basic_auth=proxy.auth) if proxy.auth else {}
