"""Who calls: OAuth 1.0a signatures (RFC 5849) and app-only bearers are verified."""

from __future__ import annotations

import hmac
import json
import secrets
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

from aiohttp import BasicAuth, web
from oauthlib.oauth1.rfc5849 import signature  # type: ignore[import-untyped]  # has none

from streamops_sandbox.home import write_private
from streamops_sandbox.x.problems import Problem, unauthorized

#: Signatures cover the address that the client believes in; tweepy's is the old one.
PUBLIC_URLS = ("https://api.twitter.com", "https://api.x.com")
_MAX_SKEW = 300


@dataclass(repr=False)
class AppKeys:
    """The credentials of the one app that the stand-in knows."""

    api_key: str
    api_secret: str
    access_key: str
    access_secret: str
    bearer_token: str

    @classmethod
    def at(cls, path: Path) -> AppKeys:
        """Return the keys of the file; random ones are made and written if there is none."""
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{field.name: stored[field.name] for field in fields(cls)})
        except FileNotFoundError:
            keys = cls(*(secrets.token_urlsafe(24) for _ in fields(cls)))
            write_private(path, asdict(keys))
            return keys


class Authenticator:
    """Checks each request's Authorization header against the app's keys."""

    def __init__(self, keys: AppKeys, base_url: str) -> None:
        self.keys = keys
        self._urls = (*PUBLIC_URLS, base_url.rstrip("/"))
        self._nonces: dict[str, int] = {}

    def caller(self, request: web.Request) -> str:
        """Return who calls, `app` (by its bearer) or `user`; raises the 401 Problem."""
        scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if hmac.compare_digest(rest.strip(), self.keys.bearer_token):
                return "app"
            raise unauthorized("this bearer is not valid")
        if scheme.lower() == "oauth":
            self._verify_signature(request, rest)
            return "user"
        raise unauthorized("no Authorization header with a bearer or an OAuth 1.0a signature")

    def exchange(self, request: web.Request, grant_type: str) -> dict[str, str]:
        """Return X's answer to an app's key and secret: POST /oauth2/token."""
        if grant_type != "client_credentials":
            raise Problem(403, "Forbidden", "Missing or unsupported grant_type")
        try:
            given = BasicAuth.decode(request.headers.get("Authorization", ""))
        except ValueError:
            given = BasicAuth("")
        # X has key and secret percent-encoded first (RFC 6749 2.3.1).
        key, secret = unquote(given.login), unquote(given.password)
        if (key, secret) != (self.keys.api_key, self.keys.api_secret):
            raise Problem(403, "Forbidden", "Unable to verify your credentials")
        return {"token_type": "bearer", "access_token": self.keys.bearer_token}

    def _verify_signature(self, request: web.Request, header: str) -> None:
        headers = {"Authorization": "OAuth " + header}
        given = dict(signature.collect_parameters(headers=headers, exclude_oauth_signature=False))
        if given.get("oauth_consumer_key") != self.keys.api_key:
            raise unauthorized("oauth_consumer_key is not this app's")
        if given.get("oauth_token") != self.keys.access_key:
            raise unauthorized("oauth_token is not valid")
        if given.get("oauth_signature_method") != "HMAC-SHA1":
            raise unauthorized("oauth_signature_method is not HMAC-SHA1")
        self._check_freshness(given)
        query = urlsplit(str(request.rel_url)).query
        parameters = signature.collect_parameters(uri_query=query, headers=headers)
        for url in self._urls:
            signed = SimpleNamespace(
                http_method=request.method,
                uri=url + request.rel_url.raw_path,
                params=parameters,
                signature=given.get("oauth_signature", ""),
            )
            if signature.verify_hmac_sha1(signed, self.keys.api_secret, self.keys.access_secret):
                return
        raise unauthorized("oauth_signature does not fit the request")

    def _check_freshness(self, given: dict[str, str]) -> None:
        stamp, nonce = given.get("oauth_timestamp", ""), given.get("oauth_nonce", "")
        now = int(time.time())
        if not stamp.isdecimal() or abs(int(stamp) - now) > _MAX_SKEW:
            raise unauthorized("oauth_timestamp is out of bounds")
        if not nonce or nonce in self._nonces:
            raise unauthorized("oauth_nonce was used before")
        if len(self._nonces) > 10_000:
            self._nonces = {n: t for n, t in self._nonces.items() if t > now - _MAX_SKEW}
        self._nonces[nonce] = now
