"""HTTP connections to one origin, kept open: one request at a time each, within a deadline.

On the standard library's client: urllib3's pool, for all that it does with each request, takes
three times as long for one that is as small as a post, and its time limits are per read: a server
that sends a byte now and then is never given up.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
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
    """An answer; `complete` is false where the body is longer than read, or was cut off."""

    status: int
    reason: str
    headers: http.client.HTTPMessage
    body: bytes
    complete: bool


class _UntilDeadline(io.RawIOBase):
    """A socket's bytes, read until the deadline of the connection's current request."""

    def __init__(self, connection: _Connection, sock: socket.socket) -> None:
        self._connection, self._socket = connection, sock
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._socket.settimeout(self._connection.seconds_left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Readable:
    """What http.client makes a response of: anything that has `makefile`."""

    def __init__(self, connection: _Connection, sock: socket.socket) -> None:
        self._connection, self._socket = connection, sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_UntilDeadline(self._connection, self._socket))


class _Connection(http.client.HTTPConnection):
    """A connection whose requests end by a deadline, from the connect to the last byte.

    Head and body are sent at once: who reads them wakes up once, not twice.
    """

    deadline = 0.0
    context: ssl.SSLContext | None = None
    _held: list[Any] | None = None

    def seconds_left(self) -> float:
        """Return the time until the deadline; TimeoutError if it has passed."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took longer than it may")
        return left

    def connect(self) -> None:
        """Connect to the first address that answers, through the proxy and TLS where set."""
        self.sock = self._reach()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tunnel_host:  # type: ignore[attr-defined] # not in its stubs
            self._tunnel()  # type: ignore[attr-defined] # not in its stubs
        if self.context is not None:
            self.sock.settimeout(self.seconds_left())
            name = self._tunnel_host or self.host  # type: ignore[attr-defined] # not in its stubs
            self.sock = self.context.wrap_socket(self.sock, server_hostname=name)

    def _reach(self) -> socket.socket:
        problem: OSError = OSError(f"{self.host} has no address")
        for family, kind, protocol, _name, address in socket.getaddrinfo(
            self.host, self.port, type=socket.SOCK_STREAM
        ):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(self.seconds_left())
                sock.connect(address)
            except OSError as error:
                sock.close()
                problem = error
            else:
                return sock
        raise problem

    def response_class(  # type: ignore[override] # there a class, called in the same way
        self, sock: socket.socket, **options: Any
    ) -> http.client.HTTPResponse:
        """Return a response that is read within the deadline."""
        return http.client.HTTPResponse(_Readable(self, sock), **options)  # type: ignore[arg-type] # only its makefile is used

    def send(self, data: Any) -> None:
        """Send within the deadline; while a request is put together, keep its pieces."""
        if self._held is not None:
            self._held.append(data)
            return
        rest = memoryview(data)
        while rest:
            self.sock.settimeout(self.seconds_left())
            rest = rest[self.sock.send(rest) :]

    def exchange(
        self, method: str, target: str, body: bytes, headers: Mapping[str, str], longest: int
    ) -> Reply:
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
        content = response.read(longest)
        complete = response.isclosed()
        if not complete:
            self.close()
            until_close = response.length is None and not response.chunked
            complete = until_close and len(content) < longest
        return Reply(response.status, response.reason, response.headers, content, complete)

    def stale(self) -> bool:
        """Whether the other side has hung up meanwhile."""
        return self.sock is not None and wait_for_read(self.sock, timeout=0)

    def abort(self) -> None:
        """End the request that another thread makes on this connection."""
        try:
            self.deadline = 0.0
            if self.sock is not None:
                self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended by itself


class Connections:
    """Requests to one origin, directly or through the environment's proxy; for several threads.

    Args:
        url: what `post` posts to; its origin is that of every request.
        seconds: deadline of a whole request, from the connect to the last byte of the answer.
        trust: the authorities trusted, for https.
        longest: bytes of an answer's body that are read.
        proxied: whether the proxy that the environment names is used.
    """

    def __init__(
        self,
        url: str,
        seconds: float,
        trust: ssl.SSLContext | None,
        *,
        longest: int = _LONGEST_BODY,
        proxied: bool = True,
    ) -> None:
        self._url, self._seconds, self._trust = parse_url(url), seconds, trust
        self._longest = longest
        proxy = select_proxy(url, get_environ_proxies(url)) if proxied else None
        self._proxy = parse_url(proxy) if proxy else None
        self._headers: dict[str, str] = {}
        self._prefix = ""
        if self._proxy is not None and trust is None:
            self._prefix = f"{self._url.scheme}://{self._url.netloc}"
            self._headers = _proxy_authorization(self._proxy)
        self._target = self._url.request_uri
        self._idle: deque[_Connection] = deque()
        self._busy: set[_Connection] = set()

    def post(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """POST to the URL once; Unreachable for whatever a network may do."""
        return self.request("POST", self._target, body, headers)

    def request(
        self,
        method: str,
        target: str,
        body: bytes,
        headers: Mapping[str, str],
        seconds: float | None = None,
    ) -> Reply:
        """Make a request once; Unreachable for whatever a network may do.

        Args:
            method: such as GET.
            target: path and query.
            body: as it is sent; may be empty.
            headers: besides Host and Content-Length.
            seconds: another deadline than the usual one.
        """
        connection = self._take()
        connection.deadline = time.monotonic() + (self._seconds if seconds is None else seconds)
        self._busy.add(connection)
        try:
            reply = connection.exchange(
                method, self._prefix + target, body, {**self._headers, **headers}, self._longest
            )
        except (http.client.HTTPException, OSError, ValueError) as error:
            connection.close()
            raise Unreachable(f"{type(error).__name__}: {error}") from error
        finally:
            self._busy.discard(connection)
        self._idle.append(connection)
        return reply

    def abort(self) -> None:
        """End the requests under way; called from another thread."""
        for connection in tuple(self._busy):
            connection.abort()

    def close(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> _Connection:
        """Return the connection that was used last, or a new one."""
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._make()
        if connection.stale():
            connection.close()
        return connection

    def _make(self) -> _Connection:
        host, port = _address(self._proxy or self._url)
        made = _Connection(host, port)
        if self._trust is not None:
            made.context = self._trust
            if self._proxy is not None:
                made.set_tunnel(*_address(self._url), _proxy_authorization(self._proxy))
        return made


def _address(url: Url) -> tuple[str, int]:
    host = str(url.host).removeprefix("[").removesuffix("]")
    return host, url.port or (443 if url.scheme == "https" else 80)


def _proxy_authorization(proxy: Url) -> dict[str, str]:
    return make_headers(proxy_basic_auth=proxy.auth) if proxy.auth else {}
