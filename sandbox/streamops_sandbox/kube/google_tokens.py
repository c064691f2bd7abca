"""Google access tokens as credentials, as GKE takes them.

Google's tokeninfo endpoint says whose a token is. GKE names users by their e-mail address; an
identity without one (workload identity federation) by its subject. GKE also lets IAM roles
authorise; the sandbox's Google answers that with the field `kubernetes_groups`.
"""

from __future__ import annotations

import logging
from typing import Any

import aiohttp

from streamops_sandbox.kube.authn import User

_LOG = logging.getLogger(__name__)
_SECONDS = 5.0


class GoogleTokens:
    """Asks the tokeninfo endpoint."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def authenticate(self, token: str) -> tuple[User, float] | None:
        """The token's user and the seconds it lives; None where Google does not know it or it has expired."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_SECONDS), trust_env=False
            )
        try:
            async with self._session.get(self._url, params={"access_token": token}) as answer:
                if answer.status != 200:
                    return None
                info: dict[str, Any] = await answer.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            _LOG.warning("%s cannot be asked about a token: %s", self._url, error)
            return None
        name = info.get("email") or info.get("sub") or ""
        groups = tuple(info.get("kubernetes_groups") or ())
        lifetime = float(info.get("expires_in") or 0)
        if not name or lifetime <= 0:
            return None
        return User(str(name), groups, uid=str(info.get("sub") or "")), lifetime
