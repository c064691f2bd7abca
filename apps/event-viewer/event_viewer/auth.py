"""Authentication and authorisation: tokens, sessions of the page, users named by an OIDC proxy."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import time
import urllib.parse
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from event_viewer.http import Problem, header

if TYPE_CHECKING:
    from starlette.types import Scope

    from event_viewer.settings import Settings


class Right(StrEnum):
    """What a request may be allowed to do."""

    READ = "read"
    WRITE = "write"


PUBLIC: frozenset[Right] = frozenset()
READ = frozenset({Right.READ})
WRITE = frozenset({Right.WRITE})
READ_WRITE = READ | WRITE

#: How often a token's file is read.
RELOAD_SECONDS = 1.0
#: Header in which the OIDC proxy sends its token.
PROXY_TOKEN_HEADER = b"x-proxy-token"
#: Wrong tokens an address may send at once, and how many more each second.
WRONG_TOKENS = 20
WRONG_TOKENS_PER_SECOND = 1.0
#: Addresses whose wrong tokens are counted; the one heard of least recently is forgotten.
ADDRESSES = 4096


class Token:
    """Secret from a setting or a file.

    A file is read again while the viewer runs. Each of its lines is a token, so that an old and a
    new one are both valid while they are exchanged.
    """

    def __init__(self, value: str, path: Path | None) -> None:
        self._values = [value.encode()] if value else []
        self._path = path
        self._read = 0.0

    def __bool__(self) -> bool:
        return bool(self._values or self._path)

    @property
    def values(self) -> list[bytes]:
        """The tokens that are valid now."""
        now = time.monotonic()
        if self._path and now - self._read > RELOAD_SECONDS:
            self._read = now
            try:
                lines = self._path.read_bytes().split()
            except OSError:
                lines = []  # being replaced: those known so far stay valid
            self._values = lines or self._values
        return self._values

    def matches(self, candidate: bytes) -> bool:
        """Return whether that is a valid token, in a time that does not depend on it."""
        return any(hmac.compare_digest(value, candidate) for value in self.values)

    def session(self, right: Right) -> str:
        """Return a session's cookie; it ends with its token, which it does not contain."""
        return _session(self.values[0], right) if self.values else ""

    def has_session(self, cookie: bytes, right: Right) -> bool:
        """Return whether a cookie is a session of a valid token."""
        sessions = [_session(value, right).encode() for value in self.values]
        return any(hmac.compare_digest(session, cookie) for session in sessions)


@dataclass
class _Client:
    """What is known of an address that has sent credentials."""

    tries: float = WRONG_TOKENS
    seen: float = field(default_factory=time.monotonic)
    #: Rights for which it has sent a valid token. Such a client is not locked out by another one
    #: that shares its address.
    proven: set[Right] = field(default_factory=set)


class Throttle:
    """Bound of the wrong tokens each address may send."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, _Client] = OrderedDict()

    def client(self, address: str) -> _Client:
        """Return what is known of an address."""
        client = self._clients.pop(address, None) or _Client()
        self._clients[address] = client
        if len(self._clients) > ADDRESSES:
            self._clients.popitem(last=False)
        now = time.monotonic()
        more = (now - client.seen) * WRONG_TOKENS_PER_SECOND
        client.tries = min(WRONG_TOKENS, client.tries + more)
        client.seen = now
        return client


class Auth:
    """Rights of requests."""

    def __init__(self, settings: Settings) -> None:
        self.tokens = {
            Right.READ: Token(settings.read_token.get_secret_value(), settings.read_token_file),
            Right.WRITE: Token(settings.write_token.get_secret_value(), settings.write_token_file),
        }
        self.user_header = settings.user_header.encode()
        self.users = {Right.READ: settings.read_users, Right.WRITE: settings.write_users}
        self.trusted_proxies = settings.trusted_proxies
        self.proxy_token = Token(settings.proxy_token.get_secret_value(), settings.proxy_token_file)
        self.throttle = Throttle()
        #: Port on which events are taken without a token; 0 for none.
        self.trigger_port = settings.trigger_port
        #: Rights that need no credentials.
        self.open = frozenset(
            right
            for right in Right
            if not self.tokens[right]
            and not (self.user_header and (right == Right.READ or self.users[right]))
        )

    def require(self, scope: Scope, needed: frozenset[Right]) -> None:
        """Raise Problem 401, 403 or 429 unless a request has the rights."""
        if needed <= self.open or (needed == WRITE and self._from_trigger(scope)):
            return
        rights = self.rights(scope)
        if needed <= rights:
            return
        if rights - self.open:
            raise Problem(403, f"this needs the right to {' and '.join(sorted(needed - rights))}")
        raise Problem(
            401,
            "this needs a token: Authorization: Bearer …",
            ((b"www-authenticate", b"Bearer"),),
        )

    def rights(self, scope: Scope) -> frozenset[Right]:
        """Return the rights of a request; raises Problem 429 after too many wrong tokens."""
        if len(self.open) == len(Right):
            return self.open
        rights = set(self.open)
        user = self.user(scope)
        if user:
            rights |= {
                right
                for right in Right
                if any(fnmatchcase(user, pattern) for pattern in self.users[right])
            }
        cookies = _cookies(scope)
        for right in Right:
            cookie = cookies.get(f"event-viewer-{right}".encode(), b"")
            if cookie and self.tokens[right].has_session(cookie, right):
                rights.add(right)
        bearer = _bearer(scope)
        if bearer:
            rights |= self.rights_of_token(scope, bearer)
        return frozenset(rights)

    def rights_of_token(self, scope: Scope, token: bytes) -> set[Right]:
        """Return the rights a token gives.

        Raises:
            Problem: 429 when too many wrong ones came from the same address.
        """
        granted = {right for right in Right if self.tokens[right].matches(token)}
        client = self.throttle.client(self._address(scope))
        if not granted & client.proven and client.tries < 1:
            raise Problem(429, "too many wrong tokens from this address", ((b"retry-after", b"5"),))
        client.proven |= granted
        if not granted and any(self.tokens.values()):
            client.tries -= 1
        return granted

    def user(self, scope: Scope) -> str:
        """Return the user an OIDC proxy names; anybody else's header does not count."""
        if not self.user_header or not self._from_proxy(scope):
            return ""
        return header(scope["headers"], self.user_header).decode("latin-1")

    def _from_trigger(self, scope: Scope) -> bool:
        """Return whether a request came to the port of senders that can send no token."""
        server = scope.get("server") or ("", 0)
        return self.trigger_port != 0 and server[1] == self.trigger_port

    def _from_proxy(self, scope: Scope) -> bool:
        if self.proxy_token:
            sent = header(scope["headers"], PROXY_TOKEN_HEADER)
            return bool(sent) and self.proxy_token.matches(sent)
        try:
            address = ipaddress.ip_address((scope.get("client") or ("",))[0])
        except ValueError:
            return False
        return any(address in network for network in self.trusted_proxies)

    @staticmethod
    def _address(scope: Scope) -> str:
        """Return the address wrong tokens are counted for."""
        address = str((scope.get("client") or ("",))[0])
        # Behind Knative's queue-proxy that is itself for everybody; it appends whom it serves.
        if address in ("127.0.0.1", "::1"):
            forwarded = header(scope["headers"], b"x-forwarded-for")
            address = forwarded.rpartition(b",")[2].strip().decode("latin-1")[:64] or address
        return address


def cross_site(scope: Scope) -> bool:
    """Return whether a page of another site sent this request from somebody's browser.

    Browsers send Sec-Fetch-Site (older ones Origin) and no page can change it; other clients send
    neither.
    """
    site = header(scope["headers"], b"sec-fetch-site")
    if site:
        return site not in (b"same-origin", b"none")
    origin = header(scope["headers"], b"origin")
    if not origin:
        return False
    try:
        netloc = urllib.parse.urlsplit(origin.decode("latin-1")).netloc
    except ValueError:
        return True
    return netloc.encode("latin-1") != header(scope["headers"], b"host")


def _session(token: bytes, right: Right) -> str:
    return hmac.new(token, f"event-viewer session {right}".encode(), hashlib.sha256).hexdigest()


def _bearer(scope: Scope) -> bytes:
    scheme, _, token = header(scope["headers"], b"authorization").partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""


def _cookies(scope: Scope) -> dict[bytes, bytes]:
    # http.cookies takes quadratic time for some values in Pythons that are still in use.
    pairs = (pair.partition(b"=") for pair in header(scope["headers"], b"cookie").split(b";"))
    return {name.strip(): value.strip() for name, _, value in pairs}
