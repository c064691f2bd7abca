"""The proxy for a URL, by the environment variables that Go, curl and requests read."""

from __future__ import annotations

import ipaddress
import urllib.request
from urllib.parse import urlsplit

from .errors import SettingError

SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


def proxy_for(url: str, option: str = "") -> str:
    """Return the URL of the proxy for `url`, "" for none.

    `option` wins over the environment, including NO_PROXY. Raises SettingError for a proxy of a kind
    that is not supported.
    """
    parts = urlsplit(url)
    if option:
        return _checked(option, "proxy")
    found = urllib.request.getproxies()
    named = found.get(parts.scheme) or found.get("all")
    if not named or _is_excluded(parts.hostname or "", parts.port, found.get("no", "")):
        return ""
    return _checked(named, f"{parts.scheme.upper()}_PROXY")


def _checked(proxy: str, origin: str) -> str:
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    try:
        usable = parts.scheme in SCHEMES and parts.hostname and parts.port != 0
    except ValueError:  # the port is not a number
        usable = False
    if not usable:
        raise SettingError(
            f"{origin}: '{parts._replace(netloc=parts.netloc.rpartition('@')[2]).geturl()}' is not a"
            f" valid proxy: give a URL such as http://proxy.example.com:3128 ({', '.join(SCHEMES)})"
        )
    if parts.scheme in ("socks4", "socks5"):
        # As in Go, the proxy resolves names: clusters' names are often known there only.
        parts = parts._replace(scheme={"socks4": "socks4a", "socks5": "socks5h"}[parts.scheme])
    return parts.geturl()


def _is_excluded(host: str, port: int | None, no_proxy: str) -> bool:
    """Return whether NO_PROXY or the loopback rule keeps a host from the proxy."""
    host = host.lower().rstrip(".")
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    for part in no_proxy.lower().split(","):
        entry = part.strip()
        if entry == "*":
            return True
        if address is not None and _covers(entry, address):
            return True
        name, _colon, number = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
        if number and number != str(port):
            continue
        name = name.strip("[]").removeprefix("*")
        bare = name.lstrip(".").rstrip(".")
        if bare and (host.endswith(f".{bare}") or (host == bare and not name.startswith("."))):
            return True
    return False


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _covers(entry: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return False
