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

from ansible_collections.streamops.knative.plugins.module_utils._google.errors import (
    ConfigError,
    Unreachable,
)

#: Files of authorities to trust instead of the system's, in the order in which clients look at them.
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
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout: float | None = None,
    ) -> Answer:
        """Send one request. Unreachable when there is no answer; any status is an answer."""
        parts = urlsplit(url)
        seconds = self._timeout if timeout is None else min(timeout, self._timeout)
        with self._lock:
            pool = self._idle[f"{parts.scheme}://{parts.netloc}"]
        connection = _usable(pool) or self._connect(parts, seconds)
        if connection.sock:
            connection.sock.settimeout(seconds)
        try:
            answer = _exchange(connection, method, parts, body, headers)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unreachable(_explain(parts, error, seconds)) from error
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
        from google.auth.exceptions import TransportError  # noqa: PLC0415 - late, as above

        data = body.encode() if isinstance(body, str) else body
        try:
            return self.request(method, url, data, headers or {}, timeout)
        except Unreachable as error:
            raise TransportError(str(error)) from error

    def _connect(self, url: SplitResult, timeout: float) -> http.client.HTTPConnection:
        """An open connection to the server, or to the proxy that leads there."""
        secure = url.scheme == "https"
        via = _proxy(url)
        to = via or url
        port = to.port or (443 if secure and not via else 80)
        connection: http.client.HTTPConnection
        if secure:
            connection = http.client.HTTPSConnection(
                to.hostname or "", port, timeout=timeout, context=self._tls()
            )
            if via:
                connection.set_tunnel(url.hostname or "", url.port or 443, _login(via))
        else:
            connection = http.client.HTTPConnection(to.hostname or "", port, timeout=timeout)
        try:
            connection.connect()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unreachable(_explain(url, error, timeout), sent=False) from error
        return connection

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            name = next((v for v in CA_VARIABLES if os.environ.get(v)), "")
            bundle = os.environ.get(name)
            folder = bundle if bundle and os.path.isdir(bundle) else None
            try:
                self._context = ssl.create_default_context(
                    cafile=None if folder else bundle, capath=folder
                )
            except OSError as error:  # also what is no certificate
                raise ConfigError(
                    f"{name} names {bundle}, which cannot be read: {error}"
                ) from error
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
    url: SplitResult,
    body: bytes | None,
    headers: Mapping[str, str],
) -> Answer:
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    via = _proxy(url)
    if via and url.scheme == "http":  # without a tunnel: the proxy reads the request
        target = f"http://{url.netloc}{target}"
        headers = {**headers, **_login(via)}
    connection.request(method, target, body=body, headers=dict(headers))
    response = connection.getresponse()
    data = response.read()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, data)


def _proxy(url: SplitResult) -> SplitResult | None:
    """The proxy for an address, as the environment names it (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)."""
    host = url.hostname or ""
    if urllib.request.proxy_bypass(f"{host}:{url.port}" if url.port else host):
        return None
    named = urllib.request.getproxies().get(url.scheme)
    if not named:
        return None
    via = urlsplit(named if "://" in named else f"http://{named}")
    if via.scheme != "http":
        raise ConfigError(
            f"{url.scheme.upper()}_PROXY: a proxy of the kind {via.scheme}:// is not supported, only"
            " http:// (which tunnels https, too)"
        )
    return via


def _login(via: SplitResult) -> dict[str, str]:
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
