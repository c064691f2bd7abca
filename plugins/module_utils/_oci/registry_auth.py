"""Authorization of requests to a registry: basic, or tokens of the server that the registry names.

https://distribution.github.io/distribution/spec/auth/token/ and, for identity tokens,
https://distribution.github.io/distribution/spec/auth/oauth/
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

from .._http.client import Answer
from .._http.errors import Cause, NoAnswer
from .credentials import Credentials

_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_CLIENT_ID = "streamops.knative"

#: Sends a request (method, URL, headers, body); as HttpClient.request.
Send = Callable[..., Answer]


class Authorization:
    """The Authorization header for one repository; `secure` is whether the registry speaks TLS."""

    def __init__(self, send: Send, credentials: Credentials | None, *, secure: bool) -> None:
        self._send = send
        self._credentials = credentials or Credentials()
        self._secure = secure
        token = self._credentials.access_token
        self.headers: dict[str, str] = {"Authorization": f"Bearer {token}"} if token else {}

    def accept(self, challenge: str) -> bool:
        """Get the header for a WWW-Authenticate challenge; False where nothing new can be had.

        Raises NoAnswer where the token server does not answer as one.
        """
        scheme, _space, rest = challenge[:8192].partition(" ")
        before = self.headers
        if scheme.lower() == "basic" and self._credentials.username:
            self.headers = self._basic()
        elif scheme.lower() == "bearer":
            parameters = dict(_PARAMETER.findall(rest))
            token = self._token(parameters.pop("realm", ""), parameters)
            self.headers = {"Authorization": f"Bearer {token}"} if token else before
            return bool(token)
        return self.headers != before

    def _basic(self) -> dict[str, str]:
        user = f"{self._credentials.username}:{self._credentials.password}"
        return {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}

    def _token(self, realm: str, parameters: dict[str, str]) -> str:
        """Return a token; "" where the server refuses."""
        if urlsplit(realm).scheme not in (("https",) if self._secure else ("http", "https")):
            raise NoAnswer(
                f"the registry names the token server {realm or '(none)'!r}, which is not safe to send"
                " credentials to",
                Cause.FORMAT,
                sent=False,
            )
        query: dict[str, str] = {
            name: parameters[name] for name in ("service", "scope") if name in parameters
        }
        if self._credentials.identity_token:
            form = {
                **query,
                "grant_type": "refresh_token",
                "client_id": _CLIENT_ID,
                "refresh_token": self._credentials.identity_token,
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = self._send("POST", realm, headers, urlencode(form).encode())
        else:
            joined = "&" if "?" in realm else "?"
            headers = self._basic() if self._credentials.username else {}
            answer = self._send("GET", f"{realm}{joined}{urlencode(query)}", headers, None)
        if answer.status >= 400:
            return ""
        body: Any = answer.json
        found = body.get("token") or body.get("access_token") if isinstance(body, dict) else None
        if not isinstance(found, str) or not re.fullmatch(r"[!-~]+", found):
            raise NoAnswer(
                f"{answer.request} was answered without a token", Cause.FORMAT, sent=True
            )
        return found
