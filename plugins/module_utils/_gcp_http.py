"""HTTP to Google: kept-alive connections of the standard library, also as google-auth's transport.

google-auth's own transports import requests or urllib3, which costs a module 60 to 140 ms.
"""

from __future__ import annotations

import base64
import http.client
import os
import queue
import select
import ssl
import threading
import urllib.request
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from ansible_collections.streamops.knative.plugins.module_utils._gcp_errors import Unreachable

#: Files of authorities to trust besides the system's, in the order in which clients look at them.
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@dataclass(frozen=True)
class Answer:
    """One answer; also what google-auth expects of its transport (`google.auth.transport.Response`)."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class Http:
    """Sends requests to any host; safe to use from several threads. `timeout` in seconds."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._idle: dict[str, queue.LifoQueue[http.client.HTTPConnection]] = defaultdict(
            queue.LifoQueue
        )
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None

    def request(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        """Send one request. Unreachable when there is no answer; any status is an answer."""
        parts = urlsplit(url)
        with self._lock:
            pool = self._idle[f"{parts.scheme}://{parts.netloc}"]
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection = _usable(pool) or self._connect(parts)
        try:
            answer = _exchange(connection, method, target, body, headers)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unreachable(_explain(parts, error, self._timeout)) from error
        pool.put(connection)
        return answer

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Answer:
        """google-auth's `google.auth.transport.Request`."""
        return self.request(
            method, url, body.encode() if isinstance(body, str) else body, headers or {}
        )

    def _connect(self, url: SplitResult) -> http.client.HTTPConnection:
        host, port = url.hostname or "", url.port
        secure = url.scheme == "https"
        proxy = _proxy(url)
        if proxy:
            via = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
            connect_to, connect_port = via.hostname or "", via.port or 80
        else:
            connect_to, connect_port = host, port or (443 if secure else 80)
        connection: http.client.HTTPConnection
        if secure:
            connection = http.client.HTTPSConnection(
                connect_to, connect_port, timeout=self._timeout, context=self._tls()
            )
        else:
            connection = http.client.HTTPConnection(connect_to, connect_port, timeout=self._timeout)
        if proxy:
            connection.set_tunnel(host, port or (443 if secure else 80), _proxy_login(via))
        return connection

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            bundle = next((os.environ[v] for v in CA_VARIABLES if os.environ.get(v)), None)
            folder = bundle if bundle and os.path.isdir(bundle) else None
            self._context = ssl.create_default_context(
                cafile=None if folder else bundle, capath=folder
            )
        return self._context


def _usable(
    pool: queue.LifoQueue[http.client.HTTPConnection],
) -> http.client.HTTPConnection | None:
    """A kept connection that the server has not closed meanwhile."""
    while True:
        try:
            connection = pool.get_nowait()
        except queue.Empty:
            return None
        # a closed connection can be read (its end), one that waits for a request cannot
        if connection.sock and not select.select([connection.sock], [], [], 0)[0]:
            return connection
        connection.close()


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes | None,
    headers: Mapping[str, str],
) -> Answer:
    connection.request(method, target or "/", body=body, headers=dict(headers))
    response = connection.getresponse()
    data = response.read()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, data)


def _proxy(url: SplitResult) -> str | None:
    host = url.hostname or ""
    if urllib.request.proxy_bypass(f"{host}:{url.port}" if url.port else host):
        return None
    return urllib.request.getproxies().get(url.scheme)


def _proxy_login(via: SplitResult) -> dict[str, str]:
    if not via.username:
        return {}
    user = f"{unquote(via.username)}:{unquote(via.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}


def _explain(url: SplitResult, error: Exception, timeout: float) -> str:
    where = f"{url.scheme}://{url.netloc}"
    if isinstance(error, TimeoutError):
        return f"{where} did not answer within {timeout:g} s (option request_timeout)"
    if isinstance(error, ssl.SSLCertVerificationError):
        names = " or ".join(CA_VARIABLES)
        return (
            f"{where} has a certificate that is not trusted ({error.verify_message}). Behind a proxy"
            f" that opens TLS, name its CA in {names}."
        )
    return f"{where} cannot be reached: {error}. Check the network, the proxy and option endpoint."
