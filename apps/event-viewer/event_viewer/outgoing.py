"""Requests of the viewer's own, which no slow or large answer holds up."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import threading
import urllib.request
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

#: What a request can fail with.
ERRORS = (OSError, http.client.HTTPException, ValueError)


def request(
    method: str,
    url: str,
    *,
    timeout: float,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    most: int = 0,
) -> tuple[int, bytes]:
    """Return the status and the first `most` bytes of the answer; a redirect is not followed.

    It goes through the proxy that the environment names (`HTTP_PROXY`, `NO_PROXY`).

    Args:
        method: the HTTP method.
        url: where to, http or https.
        timeout: seconds for all of it.
        body: what is sent.
        headers: sent with it.
        most: bytes read of the answer's body.

    Raises:
        OSError, http.client.HTTPException, ValueError: as in ERRORS, without an answer in time.
    """
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection, target, more = _connection(url, target, timeout)
    held: list[socket.socket] = []
    # The connection's own timeout starts anew with each byte that arrives.
    timer = threading.Timer(timeout, _shut_down, [connection, held])
    timer.daemon = True
    timer.start()
    try:
        connection.connect()
        held.append(connection.sock)  # the connection forgets it once an answer has begun
        connection.request(method, target, body, {**(headers or {}), **more})
        answer = connection.getresponse()
        return answer.status, answer.read(most) if most else b""
    finally:
        timer.cancel()
        connection.close()


def _connection(
    url: str, target: str, timeout: float
) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
    """Return the connection to a URL, what to ask for on it, and headers for a proxy."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or urllib.request.proxy_bypass(f"{host}:{parts.port or ''}"):
        return kind(host, parts.port, timeout=timeout), target, {}
    through = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    connection = kind(through.hostname or "", through.port, timeout=timeout)
    headers = _authorization(through.username, through.password)
    if parts.scheme == "https":
        connection.set_tunnel(host, parts.port, headers)
        return connection, target, {}
    return connection, f"http://{parts.netloc}{target}", headers


def _authorization(user: str | None, password: str | None) -> dict[str, str]:
    if user is None:
        return {}
    pair = f"{unquote(user)}:{unquote(password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _shut_down(connection: http.client.HTTPConnection, held: list[socket.socket]) -> None:
    """End whatever is being read or written."""
    for one in (connection.sock, *held):
        with contextlib.suppress(OSError, AttributeError):  # not connected, or closed already
            one.shutdown(socket.SHUT_RDWR)
