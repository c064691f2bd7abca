"""HTTPS to one API server: a pool of kept-alive connections with TLS settings of their own.

The standard library's client is used because an SSL context given explicitly is all that
decides trust: REQUESTS_CA_BUNDLE and SSL_CERT_FILE must never replace a cluster's own CA.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import os
import queue
import socket
import ssl
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.config import (
    ClusterConfig,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import (
    ApiError,
    ConfigError,
    Unreachable,
)

USER_AGENT = "streamops.knative/1.0"
Headers = list[tuple[str, str]]
#: Seconds: how long a server that is too busy is asked again, and the pauses without a Retry-After.
RETRY_SECONDS, RETRY_FIRST, RETRY_MOST = 60.0, 0.2, 5.0


class Transport:
    """Sends requests to one API server; safe to use from several threads.

    `timeout` is in seconds and holds for connecting and for each wait for bytes of an answer.
    """

    def __init__(self, config: ClusterConfig, *, timeout: float = 30.0) -> None:
        self._timeout = timeout
        self._server_name = config.tls_server_name
        url = urlsplit(config.host)
        self._host = url.hostname or ""
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._prefix = url.path.rstrip("/")
        self._url = f"{url.scheme}://{url.netloc}"
        self._context = _context(config) if url.scheme == "https" else None
        self._proxy = config.proxy or _environment_proxy(url.scheme, self._host)
        self._headers = _identity_headers(config)
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()
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
    ) -> Any:
        """Send one request; return the parsed JSON answer.

        The body decides what is JSON, not the content type: API servers send the index of
        /openapi/v3 as text/plain. A server that is too busy (429) is asked again for up to
        RETRY_SECONDS, since it has not done anything yet.

        Raises ApiError for a status of 400 and more, Unreachable when there is no answer or one
        that is not JSON.
        """
        target = self._prefix + path + (f"?{urlencode(query)}" if query else "")
        fields = [*self._headers, ("Accept", accept), *(headers or {}).items()]
        payload = None
        if body is not None:
            payload = json.dumps(body, separators=(",", ":")).encode()
            fields += [("Content-Type", content_type), ("Content-Length", str(len(payload)))]
        action = f"{method} {self._url}{self._prefix}{path}"
        status, kind, data = self._patiently(method, target, payload, fields)
        try:
            parsed = json.loads(data)
        except ValueError:
            parsed = data.decode(errors="replace")
            if status < 400:
                raise Unreachable(
                    f"{action} was answered with {kind or 'no content type'} instead of JSON:"
                    f" is host the address of a Kubernetes API server? It begins {parsed[:80]!r}"
                ) from None
        if status >= 400:
            details = parsed if isinstance(parsed, dict) else {"message": str(parsed)[:500]}
            raise ApiError(status, details, action)
        return parsed

    def close(self) -> None:
        """Close the idle connections."""
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def _patiently(
        self, method: str, target: str, payload: bytes | None, headers: Headers
    ) -> tuple[int, str, bytes]:
        """Send one request, again and again while the server answers that it is too busy."""
        deadline = time.monotonic() + RETRY_SECONDS
        pause = RETRY_FIRST
        while True:
            response, data = self._exchange(method, target, payload, headers)
            wait = _retry_after(response.headers.get("Retry-After"), pause)
            if response.status != 429 or time.monotonic() + wait > deadline:
                return response.status, response.headers.get("Content-Type", ""), data
            time.sleep(wait)
            pause = min(pause * 2, RETRY_MOST)

    def _exchange(
        self, method: str, target: str, payload: bytes | None, headers: Headers
    ) -> tuple[http.client.HTTPResponse, bytes]:
        self.requests += 1
        connection, fresh = self._take()
        try:
            try:
                response, data = _round_trip(connection, method, target, payload, headers)
            except ConnectionError:
                # A kept connection may have been closed by the server meanwhile. Nothing we send
                # does harm when it is sent twice: applies and deletes are idempotent.
                connection.close()
                if fresh:
                    raise
                connection = self._connect()
                response, data = _round_trip(connection, method, target, payload, headers)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unreachable(self._explain(error)) from error
        self._idle.put(connection)
        for warning in response.headers.get_all("Warning") or []:
            self.warnings[_warning_text(warning)] = None
        return response, data

    def _take(self) -> tuple[http.client.HTTPConnection, bool]:
        try:
            return self._idle.get_nowait(), False
        except queue.Empty:
            return self._connect(), True

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._host, self._port
        tunnel: dict[str, str] = {}
        if self._proxy:
            proxy = urlsplit(self._proxy if "://" in self._proxy else f"http://{self._proxy}")
            host, port = proxy.hostname or "", proxy.port or 80
            if proxy.username:
                user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
                token = base64.b64encode(user.encode()).decode()
                tunnel["Proxy-Authorization"] = f"Basic {token}"
        connection: http.client.HTTPConnection
        if self._context:
            connection = _TlsConnection(
                host, port, self._timeout, self._context, self._server_name or self._host
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        if self._proxy:
            connection.set_tunnel(self._host, self._port, tunnel)
        return connection

    def _explain(self, error: BaseException) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            return (
                f"{self._url} shows a certificate that is not trusted ({error.verify_message}):"
                " set ca_cert to the cluster's CA, or renew the kubeconfig"
            )
        if isinstance(error, socket.gaierror):
            return f"{self._url}: the name cannot be resolved: correct host or the kubeconfig"
        if isinstance(error, TimeoutError):
            return (
                f"{self._url} did not answer within {self._timeout:g} s (request_timeout):"
                " is the cluster up, and is a proxy or VPN needed?"
            )
        return f"{self._url} cannot be reached ({error}): is the cluster up, and host right?"


class _TlsConnection(http.client.HTTPConnection):
    """An HTTPS connection whose expected server name need not be the host it connects to."""

    default_port = 443

    def __init__(
        self, host: str, port: int, timeout: float, context: ssl.SSLContext, server_name: str
    ) -> None:
        super().__init__(host, port, timeout=timeout)
        self._context = context
        self._server_name = server_name

    def connect(self) -> None:
        """Connect, through the proxy's tunnel where there is one, then start TLS."""
        super().connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self._server_name)


def _round_trip(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    payload: bytes | None,
    headers: Headers,
) -> tuple[http.client.HTTPResponse, bytes]:
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders(payload)
    response = connection.getresponse()
    return response, response.read()


def _retry_after(header: str | None, otherwise: float) -> float:
    """Return the seconds of a Retry-After header, `otherwise` without one (or with a date)."""
    if header and header.isascii() and header.isdigit():
        return max(float(header), RETRY_FIRST)
    return otherwise


def _warning_text(header: str) -> str:
    """Text of `299 - "text"` (RFC 7234, the form the API server uses)."""
    parts = header.split('"')
    return parts[1] if len(parts) > 2 else header


def _identity_headers(config: ClusterConfig) -> Headers:
    headers = [("User-Agent", USER_AGENT)]
    if config.api_key:
        headers.append(("Authorization", f"Bearer {config.api_key}"))
    if config.impersonate_user:
        headers.append(("Impersonate-User", config.impersonate_user))
    headers += [("Impersonate-Group", group) for group in config.impersonate_groups]
    return headers


def _context(config: ClusterConfig) -> ssl.SSLContext:
    try:
        if config.ca_cert:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(cadata=config.ca_cert)
        else:
            context = ssl.create_default_context()
    except ssl.SSLError as error:
        raise ConfigError(f"ca_cert is not a PEM certificate: {error}") from error
    # Many clusters' CAs predate the stricter checks that Python 3.13 turned on.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    if not config.validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config.client_cert:
        with _private_file(config.client_cert + "\n" + config.client_key) as path:
            try:
                context.load_cert_chain(path)
            except ssl.SSLError as error:
                raise ConfigError(f"client_cert and client_key do not fit: {error}") from error
    return context


@contextmanager
def _private_file(text: str) -> Iterator[str]:
    """A file only we can read, for the one moment OpenSSL insists on a path."""
    handle, path = tempfile.mkstemp(prefix="streamops-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        yield path
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)


def _environment_proxy(scheme: str, host: str) -> str:
    """HTTPS_PROXY and NO_PROXY as client-go reads them: never for this machine itself."""
    with suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return ""
    if host == "localhost" or urllib.request.proxy_bypass(host):
        return ""
    return urllib.request.getproxies().get(scheme, "")
