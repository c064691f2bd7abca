"""Credentials: service-account keys, access tokens, and the JWTs that keys sign."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt
from google.auth.exceptions import GoogleAuthError

from streamops_sandbox.google.errors import GoogleError, OAuthError, error_info
from streamops_sandbox.google.iam.principals import Principal

CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
USERINFO_EMAIL = "https://www.googleapis.com/auth/userinfo.email"
MAX_ASSERTION_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Token:
    """One access token: whose it is, what for (scopes, space separated) and until when (epoch)."""

    principal: Principal
    scope: str
    expires: float


@dataclass(slots=True)
class Tokens:
    """Issues and checks credentials.

    `lifetime` is that of access tokens in seconds; a test shortens it to see them renewed.
    """

    lifetime: int = 3600
    _keys: dict[str, tuple[Principal, bytes]] = field(default_factory=dict)
    _tokens: dict[str, Token] = field(default_factory=dict)
    _refresh: dict[str, Principal] = field(default_factory=dict)

    def new_key(self, principal: Principal, base_url: str) -> dict[str, str]:
        """A service-account key file whose token endpoint is the sandbox's."""
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        key_id = secrets.token_hex(20)
        public = private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._keys[key_id] = (principal, public)
        pem = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return {
            "type": "service_account",
            "project_id": principal.project,
            "private_key_id": key_id,
            "private_key": pem.decode(),
            "client_email": principal.email,
            "client_id": principal.unique_id,
            "auth_uri": f"{base_url}/o/oauth2/auth",
            "token_uri": f"{base_url}/token",
            "universe_domain": "googleapis.com",
        }

    def new_user(self, principal: Principal) -> dict[str, str]:
        """An `authorized_user` file, as `gcloud auth application-default login` writes it."""
        refresh = "1//" + secrets.token_urlsafe(32)
        self._refresh[refresh] = principal
        return {
            "type": "authorized_user",
            "client_id": "sandbox.apps.googleusercontent.com",
            "client_secret": "sandbox",
            "refresh_token": refresh,
            "universe_domain": "googleapis.com",
        }

    def issue(
        self, principal: Principal, scope: str, lifetime: int | None = None
    ) -> dict[str, Any]:
        """A new access token as a token endpoint answers it (RFC 6749, section 5.1)."""
        self._forget_expired()
        value = "ya29." + secrets.token_urlsafe(48)
        seconds = self.lifetime if lifetime is None else lifetime
        self._tokens[value] = Token(principal, scope, time.time() + seconds)
        return {"access_token": value, "expires_in": seconds, "token_type": "Bearer"}

    def refresh(self, refresh_token: str) -> Principal:
        """The user whose refresh token this is."""
        try:
            return self._refresh[refresh_token]
        except KeyError:
            raise OAuthError("invalid_grant", "Token has been expired or revoked.") from None

    def revoke_all(self) -> None:
        """Make every access token invalid, as when they all expired at once."""
        self._tokens.clear()

    def forget_account(self, email: str) -> None:
        """Make keys and tokens of a deleted service account invalid."""
        self._keys = {k: v for k, v in self._keys.items() if v[0].email != email}
        self._tokens = {k: v for k, v in self._tokens.items() if v.principal.email != email}

    def lookup(self, value: str) -> Token:
        """The token, or the 401 that Google's APIs answer."""
        token = self._tokens.get(value)
        if token is None and value.count(".") == 2:
            token = self._self_signed(value)
        if token is None or token.expires <= time.time():
            reason = "EXPIRED" if token else "TYPE_UNSUPPORTED"
            problem = "had invalid authentication credentials"
            raise unauthenticated(problem, f"ACCESS_TOKEN_{reason}")
        return token

    def assertion(self, token: str, audiences: Collection[str]) -> tuple[Principal, str]:
        """Check a JWT bearer grant (RFC 7523): whose it is, and the scope it asks for."""
        try:
            principal, claims = self._verify(token)
        except ValueError as error:
            raise OAuthError("invalid_grant", str(error)) from None
        if claims.get("aud") not in audiences:
            raise OAuthError(
                "invalid_grant", f"Invalid JWT: aud must be one of {', '.join(audiences)}"
            )
        if not claims.get("scope"):
            raise OAuthError("invalid_scope", "Empty or missing scope not allowed.")
        return principal, claims["scope"]

    def _self_signed(self, token: str) -> Token | None:
        """A JWT used as an access token (https://google.aip.dev/auth/4111)."""
        try:
            principal, claims = self._verify(token)
        except ValueError:
            return None
        if claims.get("sub") != claims.get("iss"):
            return None
        return Token(principal, claims.get("scope", CLOUD_PLATFORM), float(claims["exp"]))

    def _verify(self, token: str) -> tuple[Principal, dict[str, Any]]:
        """Signature, key, issuer and times of a JWT; ValueError with what is wrong."""
        try:
            key_id = jwt.decode_header(token).get("kid", "")
            principal, public = self._keys[key_id]
            claims = jwt.decode(token, public)
        except KeyError:
            raise ValueError("Invalid JWT Signature: unknown key") from None
        except (GoogleAuthError, TypeError) as error:
            reason = " Signature." if "signature" in str(error) else f": {error}"
            raise ValueError(f"Invalid JWT{reason}") from None
        if claims.get("iss") != principal.email:
            raise ValueError("Invalid grant: account not found")
        if claims["exp"] - claims["iat"] > MAX_ASSERTION_SECONDS:
            raise ValueError(
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable"
                " timeframe. Check your iat and exp values in the JWT claim."
            )
        return principal, claims

    def _forget_expired(self) -> None:
        horizon = time.time() - 600  # kept a while, so that "expired" can be told from "unknown"
        self._tokens = {k: v for k, v in self._tokens.items() if v.expires > horizon}


def unauthenticated(problem: str, reason: str, **metadata: str) -> GoogleError:
    """401 for a request whose credentials are missing or invalid."""
    return GoogleError(
        "UNAUTHENTICATED",
        f"Request {problem}. Expected OAuth 2 access token, login cookie or other valid"
        " authentication credential. See"
        " https://developers.google.com/identity/sign-in/web/devconsole-project.",
        [error_info(reason, **metadata)],
    )
