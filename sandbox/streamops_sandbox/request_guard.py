"""Refusal of requests that web pages and rebound names send to the sandbox's listeners.

A page of any origin can have a browser send requests to loopback addresses, and a name of its own
may resolve to one. Clients of the sandbox are programs: they address it by IP address, `localhost`
or the names of the service, and come from no origin.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

_OWN_SITES = ("", "none", "same-origin")


def refusal(request: web.BaseRequest, names: tuple[str, ...] = ()) -> str | None:
    """Return why a request is refused, None where it is not.

    `names` are the hosts the service has besides IP addresses and `localhost`; one that begins
    with a dot stands for all names below it.
    """
    hosts = request.headers.getall("Host", [])
    if len(hosts) != 1:
        return f"{len(hosts)} Host headers: exactly one is needed"
    name = urlsplit(f"//{hosts[0]}").hostname or ""
    if not (name == "localhost" or _is_address(name) or _is_one_of(name, names)):
        return f"Host {hosts[0]!r} is not a name of this service"
    scheme = request.headers.get("Authorization", "").partition(" ")[0].lower()
    if scheme not in ("", "basic"):
        return None  # a browser adds no such credentials for a page of another origin
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != hosts[0]:
        return f"requests of pages of the origin {origin!r} are not answered"
    if request.headers.get("Sec-Fetch-Site", "") not in _OWN_SITES:
        return "requests of pages of other sites are not answered"
    return None


def guard(*names: str) -> Any:
    """Return the middleware that answers 403 to what `refusal` refuses; `names` as there."""

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if reason := refusal(request, names):
            return web.Response(status=403, text=f"{reason}\n")
        return await handler(request)

    return middleware


@functools.lru_cache(maxsize=64)
def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_one_of(name: str, names: tuple[str, ...]) -> bool:
    return any(name == one or (one[0] == "." and name.endswith(one)) for one in names)
