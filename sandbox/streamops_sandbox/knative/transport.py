"""HTTP requests to names of the cluster, as a pod's network would carry them."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping
from contextlib import AbstractAsyncContextManager

import aiohttp
from yarl import URL

from streamops_sandbox.node.context import Resolver

_CONNECT_SECONDS = 5.0
#: Shorter than servers keep an idle connection (gunicorn: 2 s): a request never meets its end.
_IDLE_SECONDS = 1.0


class NoEndpoints(ConnectionError):
    """No ready endpoint stands behind a Service's name."""


class Transport:
    """Resolves each request's host through the node and keeps connections alive."""

    def __init__(self, resolve: Resolver) -> None:
        self._resolve = resolve
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    def request(
        self,
        method: str,
        url: str | URL,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | AsyncIterable[bytes] | None = None,
        timeout: float | None = None,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Return the context manager of one request; `timeout` covers all of it, in seconds.

        Raises:
            NoEndpoints: the host is a Service without a ready endpoint, or no Service at all.
        """
        target = URL(url)
        port = target.port or 80
        found = self._resolve(target.host or "", port)
        if found is None:
            raise NoEndpoints(f"{target.host}:{port} has no ready endpoint")
        address = target.with_host(found[0]).with_port(found[1])
        named = target.with_port(None) if target.is_default_port() else target
        merged = {"Host": named.authority, **(headers or {})} if address != target else headers
        return self._session.request(
            method,
            address,
            headers=merged,
            data=data,
            allow_redirects=False,
            server_hostname=target.host if target.scheme == "https" else None,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=_CONNECT_SECONDS),
        )
