"""Who may read and who may write: tokens, sessions of the page, users named by an OIDC proxy."""

from __future__ import annotations

import hashlib
import hmac
import http.cookies
import ipaddress
import time
import urllib.parse
from fnmatch import fnmatchcase
from pathlib import Path

from event_viewer.http import Scope, header
from event_viewer.settings import Settings

READ = "read"
WRITE = "write"
#: How often a token's file is looked at for a new token.
RELOAD_SECONDS = 1.0


class Token:
    """A secret from a setting or a file; a changed file counts without a restart."""

    def __init__(self, value: str, path: Path | None) -> None:
        self._value = value
        self._path = path
        self._looked = 0.0
        self._modified = 0

    def __bool__(self) -> bool:
        return bool(self._value or self._path)

    @property
    def value(self) -> str:
        """The token that counts now."""
        if self._path and time.monotonic() - self._looked > RELOAD_SECONDS:
            self._looked = time.monotonic()
            try:
                modified = self._path.stat().st_mtime_ns
                if modified != self._modified:
                    self._value = self._path.read_text().strip()
                    self._modified = modified
            except OSError:
                pass  # being replaced: the one known so far counts on
        return self._value

    def matches(self, candidate: str) -> bool:
        """Whether that is the token, without telling by the time it takes."""
        value = self.value
        return bool(value) and hmac.compare_digest(value.encode(), candidate.encode())

    def session(self, right: str) -> str:
        """What the page's cookie holds instead of the token; another token ends the session."""
        key = self.value.encode()
        return hmac.new(key, f"event-viewer session {right}".encode(), hashlib.sha256).hexdigest()


class Access:
    """Tells the rights of a request."""

    def __init__(self, settings: Settings) -> None:
        self.tokens = {
            READ: Token(settings.read_token, settings.read_token_file),
            WRITE: Token(settings.write_token, settings.write_token_file),
        }
        self.user_header = settings.user_header.encode()
        self.users = {READ: settings.read_users, WRITE: settings.write_users}
        self.trusted_proxies = settings.trusted_proxies
        #: Rights that everybody has.
        self.open = frozenset(
            right
            for right in (READ, WRITE)
            if not self.tokens[right]
            and not (self.user_header and (right == READ or self.users[right]))
        )

    def rights(self, scope: Scope) -> frozenset[str]:
        """The rights of a request."""
        rights = self.open
        if len(rights) == 2:
            return rights
        user = self.user(scope)
        bearer = _bearer(scope)
        cookies = _cookies(scope)
        for right in (READ, WRITE):
            token = self.tokens[right]
            session = cookies.get(f"event-viewer-{right}", "")
            if (
                (bearer and token.matches(bearer))
                or (token and session and hmac.compare_digest(session, token.session(right)))
                or (user and any(fnmatchcase(user, one) for one in self.users[right]))
            ):
                rights |= {right}
        return rights

    def user(self, scope: Scope) -> str:
        """The user a trusted proxy names; nobody's word counts else."""
        if not self.user_header or not scope.get("client"):
            return ""
        try:
            address = ipaddress.ip_address(scope["client"][0])
        except ValueError:
            return ""
        if not any(address in network for network in self.trusted_proxies):
            return ""
        return header(scope, self.user_header)


def cross_site(scope: Scope) -> bool:
    """Whether a page of another site sent this request from somebody's browser.

    Browsers send Sec-Fetch-Site (the older ones Origin) and let no page change it; other clients
    send neither.
    """
    site = header(scope, b"sec-fetch-site")
    if site:
        return site not in ("same-origin", "none")
    origin = header(scope, b"origin")
    if not origin:
        return False
    return urllib.parse.urlsplit(origin).netloc != header(scope, b"host")


def _bearer(scope: Scope) -> str:
    scheme, _, token = header(scope, b"authorization").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _cookies(scope: Scope) -> dict[str, str]:
    jar: http.cookies.SimpleCookie = http.cookies.SimpleCookie()
    try:
        jar.load(header(scope, b"cookie"))
    except http.cookies.CookieError:
        return {}
    return {name: morsel.value for name, morsel in jar.items()}
