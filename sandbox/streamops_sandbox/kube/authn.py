"""Who is asking: bearer tokens, client certificates, and Google access tokens as GKE takes them.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/

GKE names users by their e-mail address; an identity without one (workload identity federation) by its
subject. It also lets IAM roles authorise; the sandbox's Google answers that with the field
`kubernetes_groups` of tokeninfo.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from streamops_sandbox.kube import errors

_LOG = logging.getLogger(__name__)
_SECONDS = 30.0
ANONYMOUS = "system:anonymous"
MASTERS = "system:masters"
_AUTHENTICATED = "system:authenticated"
_UNAUTHENTICATED = "system:unauthenticated"
#: Returns the service account of a token, and the token's audiences.
Accounts = Callable[[str], tuple["User", list[str]] | None]
#: Returns the user of Google's token, and how many seconds it is still valid.
GoogleUser = Callable[[str], Awaitable[tuple["User", float] | None]]
#: How long a token that Google vouched for is not asked about again.
_EXTERNAL_TTL = 60.0


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated identity."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, list[str]] = field(default_factory=dict)

    def info(self) -> dict[str, Any]:
        """`UserInfo` as reviews and webhooks carry it."""
        info: dict[str, Any] = {"username": self.name, "groups": list(self.groups)}
        if self.uid:
            info["uid"] = self.uid
        if self.extra:
            info["extra"] = dict(self.extra)
        return info


class Authentication:
    """The server's credentials: the administrator's token, service accounts' tokens, and maybe Google's."""

    def __init__(
        self, admin_token: str, admin: User, accounts: Accounts, google: GoogleUser | None
    ) -> None:
        self._admin = (admin_token, authenticated(admin))
        self._accounts = accounts
        self._google = google
        self._remembered: dict[str, tuple[float, User]] = {}

    async def by_token(self, token: str) -> User | None:
        """The token's user, or None."""
        if token == self._admin[0]:
            return self._admin[1]
        remembered = self._remembered.get(token)
        if remembered and remembered[0] > time.monotonic():
            return remembered[1]
        found = self._accounts(token)
        if found is not None:
            return authenticated(found[0])
        answer = await self._google(token) if self._google else None
        if answer is None:
            return None
        now, user = time.monotonic(), authenticated(answer[0])
        self._remembered = {k: entry for k, entry in self._remembered.items() if entry[0] > now}
        self._remembered[token] = (now + min(answer[1], _EXTERNAL_TTL), user)
        return user

    async def authenticate(
        self, headers: Mapping[str, str], peer_certificate: Mapping[str, Any] | None
    ) -> User:
        """The request's user; without credentials it is anonymous. Raises a 401."""
        user = _from_certificate(peer_certificate or {})
        if user is not None:
            return authenticated(user)
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if not scheme:
            return User(ANONYMOUS, (_UNAUTHENTICATED,))
        is_bearer = scheme.lower() == "bearer" and token.strip()
        found = await self.by_token(token.strip()) if is_bearer else None
        if found is None:
            raise errors.unauthorized()
        return found


def authenticated(user: User) -> User:
    """The user as a member of `system:authenticated`."""
    if _AUTHENTICATED in user.groups:
        return user
    return replace(user, groups=(*user.groups, _AUTHENTICATED))


def _from_certificate(certificate: Mapping[str, Any]) -> User | None:
    """A verified certificate: the common name is the user, organizations are the groups."""
    pairs = [pair for attributes in certificate.get("subject", ()) for pair in attributes]
    names = [value for key, value in pairs if key == "commonName"]
    groups = tuple(value for key, value in pairs if key == "organizationName")
    return User(names[-1], groups) if names else None


async def google_user(
    url: str, session: aiohttp.ClientSession, token: str
) -> tuple[User, float] | None:
    """Return a token's user and the seconds it lives, by the tokeninfo endpoint.

    None where Google does not know it or it has expired.
    """
    query, timeout = {"access_token": token}, aiohttp.ClientTimeout(total=_SECONDS)
    try:
        async with session.get(url, params=query, timeout=timeout) as answer:
            if answer.status != 200:
                return None
            info: dict[str, Any] = await answer.json()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        _LOG.warning("%s cannot be asked about a token: %s", url, error)
        return None
    name = info.get("email") or info.get("sub") or ""
    groups = tuple(info.get("kubernetes_groups") or ())
    lifetime = float(info.get("expires_in") or 0)
    if not name or lifetime <= 0:
        return None
    return User(str(name), groups, uid=str(info.get("sub") or "")), lifetime
