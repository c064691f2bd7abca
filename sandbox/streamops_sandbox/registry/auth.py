"""Docker token authentication: Basic credentials are changed for a short-lived Bearer token.

https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from collections.abc import Iterable
from pathlib import Path

import aiohttp
from aiohttp import web
from cryptography.fernet import Fernet, InvalidToken

from streamops_sandbox.home import write_private
from streamops_sandbox.registry.errors import RegistryError

SERVICE = "sandbox-registry"
_LIFETIME = 300
#: The user name that registries of Google Cloud take together with an access token.
_GOOGLE_USER = "oauth2accesstoken"

Access = dict[str, set[str]]  # "repository:NAME" -> actions


def parse_scopes(scopes: Iterable[str]) -> Access:
    """Read `TYPE:NAME:ACTION,ACTION` entries (a name may hold colons); others are ignored."""
    access: Access = {}
    for scope in scopes:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        if kind and name and actions:
            access.setdefault(f"{kind}:{name}", set()).update(actions.split(","))
    return access


class TokenAuth:
    """Issues and checks tokens for one registry.

    User and password are made anew and written to `docker-config.json` in `home`, the
    form that docker, skopeo, buildah and oras read. Anybody may pull where `anonymous_pull`.
    """

    def __init__(
        self, home: Path, base_url: str, anonymous_pull: bool, google_tokeninfo_url: str | None
    ) -> None:
        self._realm = f"{base_url}/token"
        self._anonymous_pull = anonymous_pull
        self._google_tokeninfo_url = google_tokeninfo_url
        self._tokens = Fernet(Fernet.generate_key())
        self._credentials = f"sandbox:{secrets.token_urlsafe(24)}".encode()
        auth = base64.b64encode(self._credentials).decode()
        host = base_url.partition("://")[2]
        hosts = {host, host.replace("127.0.0.1", "localhost")}
        config = {"auths": {name: {"auth": auth} for name in sorted(hosts)}}
        write_private(home / "docker-config.json", config)

    async def token(self, request: web.Request) -> web.Response:
        """Serve the token endpoint, to users with Basic credentials and to anybody."""
        scopes = [one for many in request.query.getall("scope", []) for one in many.split()]
        access = parse_scopes(scopes)
        if credentials := _basic(request.headers.get("Authorization", "")):
            await self._check(*credentials)
        else:
            allowed = {"pull"} if self._anonymous_pull else set()
            names = (name for name in access if name.startswith("repository:"))
            access = {name: access[name] & allowed for name in names}
        token = self._tokens.encrypt(json.dumps(access, default=sorted).encode()).decode()
        body = {"token": token, "access_token": token, "expires_in": _LIFETIME}
        return web.json_response(body)

    def require(self, request: web.Request, needed: Access) -> None:
        """Refuse a request whose token does not allow all of `needed`, saying how to get one."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        granted = self._verify(token) if scheme.lower() == "bearer" else None
        if granted is not None and all(
            actions <= granted.get(name, set()) for name, actions in needed.items()
        ):
            return
        scope = " ".join(f"{name}:{','.join(sorted(needed[name]))}" for name in needed)
        challenge = f'Bearer realm="{self._realm}",service="{SERVICE}"'
        if scope:
            challenge += f',scope="{scope}"'
        if granted is not None:
            challenge += ',error="insufficient_scope"'
        raise RegistryError("UNAUTHORIZED", headers={"WWW-Authenticate": challenge})

    async def _check(self, user: str, password: str) -> None:
        """Refuse credentials that are not the registry's own, nor, by its tokeninfo endpoint, Google's."""
        if user != _GOOGLE_USER or not self._google_tokeninfo_url:
            if hmac.compare_digest(f"{user}:{password}".encode(), self._credentials):
                return
            raise RegistryError("UNAUTHORIZED", message="incorrect username or password")
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
            session.get(self._google_tokeninfo_url, params={"access_token": password}) as response,
        ):
            if response.status != 200:
                raise RegistryError("UNAUTHORIZED", message="the access token is not valid")

    def _verify(self, token: str) -> Access | None:
        try:
            access = json.loads(self._tokens.decrypt(token, ttl=_LIFETIME))
        except InvalidToken:
            return None
        return {name: set(actions) for name, actions in access.items()}


def _basic(header: str) -> tuple[str, str] | None:
    """Return user and password of a Basic header; None without one."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        raise RegistryError("UNAUTHORIZED", message="malformed Basic credentials") from None
    return user, password
