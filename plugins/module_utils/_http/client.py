"""HTTP requests over pooled connections, with an explicit TLS context, a proxy and bounded answers."""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, Union
from urllib.parse import unquote, urlsplit

from .errors import Cause, NoAnswer, SettingError
from .proxies import proxy_for
from .tls import public_context

if TYPE_CHECKING:
    from urllib3 import HTTPHeaderDict

try:
    import urllib3
    from urllib3 import exceptions
except ImportError:  # HttpClient reports it
    urllib3 = None  # type: ignore[assignment]  # stands for the missing library

USER_AGENT = "streamops.knative/1.0"
CONNECTIONS = 32  # kept open per server
LARGEST_ANSWER = 256 << 20  # bytes
LONGEST_ANSWER = 600.0  # seconds from the first byte to the last
REDIRECTS = 5
_CHUNK = 1 << 16

Headers = Union[Mapping[str, str], Iterable[tuple[str, str]]]  # noqa: UP007 - for ansible-test

# Nothing but exceptions: a module's standard error is its user's.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Answer:
    """An answer of any status; header names are matched without regard to case."""

    status: int
    headers: HTTPHeaderDict
    data: bytes
    request: str = ""  # method and URL, for messages

    @cached_property
    def json(self) -> Any:
        """The parsed body, whatever its content type; NoAnswer if it is not JSON."""
        try:
            return json.loads(self.data)
        except ValueError:
            kind = self.headers.get("Content-Type", "no content type")
            begin = self.data[:80].decode(errors="replace")
            cut = begin.lstrip()[:1] in ("{", "[", '"')
            # The text of JSON that was cut may begin with a secret.
            text = f"{kind} instead of JSON (HTTP {self.status}); it begins {begin!r}"
            raise NoAnswer(
                f"{self.request} was answered with "
                + (f"incomplete JSON (HTTP {self.status})" if cut else text),
                Cause.CONNECTION if cut else Cause.FORMAT,
                sent=True,
            ) from None


class HttpClient:
    """Sends requests to any server; safe to use from several threads.

    `context` is for servers with a CA of their own; without it that of public servers is used.
    `timeout` is in seconds and holds for connecting and for each wait for bytes. `server_name` is the
    name that the server's certificate has to have, where it is not the host's. `proxy` wins over the
    environment's.
    """

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        *,
        timeout: float,
        server_name: str = "",
        proxy: str = "",
    ) -> None:
        if urllib3 is None:
            raise SettingError("urllib3 is missing on this host: pip install urllib3")
        self._timeout = timeout
        self._proxy = proxy
        self._options: dict[str, Any] = {"maxsize": CONNECTIONS}
        if context is not None:
            self._options["ssl_context"] = context
            if context.verify_mode == ssl.CERT_NONE:
                urllib3.disable_warnings(exceptions.InsecureRequestWarning)
        if server_name:
            self._options["server_hostname"] = server_name
            self._options["assert_hostname"] = server_name
        self._pools: dict[str, Any] = {}
        self._reading: set[Any] = set()
        self._closed = False

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes | BinaryIO | None = None,
        timeout: float | None = None,
        limit: int = LARGEST_ANSWER,
        redirects: int = 0,
    ) -> Answer:
        """Send one request and read the answer, at most `limit` bytes.

        Raises NoAnswer. Redirects are followed up to `redirects` times, else returned.
        """
        with self.stream(
            method, url, headers=headers, body=body, timeout=timeout, redirects=redirects
        ) as (answer, chunks):
            data = bytearray()
            for chunk in chunks:
                data += chunk
                if len(data) > limit:
                    raise NoAnswer(
                        f"{method} {shown(url)} was answered with more than {limit >> 20} MiB",
                        Cause.SIZE,
                        sent=True,
                    )
        return Answer(answer.status, answer.headers, bytes(data), answer.request)

    @contextmanager
    def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes | BinaryIO | None = None,
        timeout: float | None = None,
        redirects: int = 0,
    ) -> Iterator[tuple[Answer, Iterator[bytes]]]:
        """Send one request; yield the answer without its body, and the chunks of the body."""
        seconds = self._timeout if timeout is None else min(timeout, self._timeout)
        retries = (
            urllib3.Retry(redirects, connect=0, read=0, other=0, status=0) if redirects else False
        )
        fields = urllib3.HTTPHeaderDict(headers)
        fields.setdefault("User-Agent", USER_AGENT)
        response = None
        try:
            response = self._pool(url).urlopen(
                method,
                url,
                body=body,
                headers=fields,
                timeout=urllib3.Timeout(connect=seconds, read=seconds),
                retries=retries,
                redirect=bool(redirects),
                preload_content=False,
            )
            self._reading.add(response)
            if self._closed:  # while the request was under way
                text = f"{method} {shown(url)} was given up: the client was closed"
                raise NoAnswer(text, Cause.CONNECTION, sent=True)
            answer = Answer(response.status, response.headers, b"", f"{method} {shown(url)}")
            yield answer, _chunks(response, url, seconds)
            response.drain_conn()
            self._reading.discard(response)
            response.release_conn()
            response = None
        except exceptions.HTTPError as error:
            raise _no_answer(url, error, seconds) from error
        finally:
            if response is not None:
                self._reading.discard(response)
                response.close()

    def close(self) -> None:
        """Close the connections for good; a thread that reads an answer is at its end."""
        self._closed = True
        for pool in list(self._pools.values()):
            pool.clear()
        for response in list(self._reading):
            if hasattr(response, "shutdown"):  # urllib3 2.3
                with suppress(OSError, ValueError, RuntimeError):
                    response.shutdown()

    def _pool(self, url: str) -> Any:
        parts = urlsplit(url)
        server = f"{parts.scheme}://{parts.netloc}"
        if server not in self._pools:  # once: looking for a proxy in the environment takes long
            options = self._options
            if parts.scheme == "https" and "ssl_context" not in options:
                options = {**options, "ssl_context": public_context()}
            self._pools[server] = _pool_manager(proxy_for(url, self._proxy), options)
        return self._pools[server]


def shown(url: str) -> str:
    """Return a URL for messages: without user information and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _pool_manager(proxy: str, options: dict[str, Any]) -> Any:
    if not proxy:
        return urllib3.PoolManager(**options)
    if proxy.startswith("socks"):
        try:
            from urllib3.contrib.socks import (  # noqa: PLC0415 - few need it
                SOCKSProxyManager,
            )
        except ImportError as error:
            raise SettingError(
                f"proxy {shown(proxy)} needs the Python package PySocks: pip install PySocks"
            ) from error
        return SOCKSProxyManager(proxy, **options)
    parts = urlsplit(proxy)
    headers = {}
    if parts.username:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=user)
    return urllib3.ProxyManager(proxy, proxy_headers=headers, **options)


def _chunks(response: Any, url: str, timeout: float) -> Iterator[bytes]:
    started = time.monotonic()
    # What has arrived, up to so many bytes: a watch's events come as they happen.
    while chunk := response.read1(_CHUNK, decode_content=True):
        yield chunk
        if time.monotonic() - started > LONGEST_ANSWER:
            raise NoAnswer(
                f"{shown(url)} sends its answer for more than {LONGEST_ANSWER:g} s",
                Cause.TIMEOUT,
                sent=True,
            )


def _no_answer(url: str, error: Exception, timeout: float) -> NoAnswer:
    parts = urlsplit(url)
    where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if isinstance(error, exceptions.MaxRetryError):
        error = error.reason or error
    if isinstance(error, exceptions.ProxyError):
        reason = _reason(error.original_error)
        return NoAnswer(f"the proxy for {where} cannot be used ({reason})", Cause.PROXY, sent=False)
    if isinstance(error, exceptions.NameResolutionError):
        return NoAnswer(f"{where}: the name cannot be resolved", Cause.NAME, sent=False)
    if isinstance(error, exceptions.SSLError):
        inner = error.args[0] if error.args else error
        if isinstance(inner, ssl.SSLCertVerificationError):
            text = f"{where} has a certificate that is not trusted ({inner.verify_message})"
            return NoAnswer(text, Cause.CERTIFICATE, sent=False)
        return NoAnswer(f"{where}: TLS failed ({_reason(inner)})", Cause.CONNECTION, sent=False)
    refused = isinstance(error, exceptions.NewConnectionError)
    if isinstance(error, exceptions.TimeoutError) and not refused:
        sent = not isinstance(error, exceptions.ConnectTimeoutError)
        text = f"{where} did not answer within {timeout:g} s (request_timeout)"
        return NoAnswer(text, Cause.TIMEOUT, sent=sent)
    text = f"{where} cannot be reached ({_reason(error)})"
    return NoAnswer(text, Cause.CONNECTION, sent=not refused)


def _reason(error: object) -> str:
    """Return the innermost words of an error."""
    while isinstance(error, BaseException):
        inner = error.__cause__ or next(
            (entry for entry in error.args if isinstance(entry, BaseException)), None
        )
        if inner is None:
            break
        error = inner
    return str(error).rstrip(".") or type(error).__name__
