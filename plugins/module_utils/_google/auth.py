# ruff: noqa: PLC0415 - google-auth takes 100 ms to import, which not every auth_kind needs
"""Credentials from google.cloud's option names; google-auth does the work.

Its imports are late: an access token that is given needs none of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from .errors import ConfigError, CredentialsError, TokenUnavailable, from_answer
from .http_client import Http

CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
USERINFO_EMAIL = "https://www.googleapis.com/auth/userinfo.email"
IMPERSONATED_SECONDS = 3600


class Credentials(Protocol):
    """What of google-auth's credentials is used here."""

    token: str | None
    valid: bool

    def refresh(self, request: Http) -> None:
        """Get a new token."""


@dataclass
class AccessToken:
    """An access token that is not renewed here."""

    token: str | None
    valid: bool = True

    def refresh(self, request: Http) -> None:
        """Do nothing: there is nothing to renew it with."""


@dataclass(frozen=True)
class AuthOptions:
    """The options of every Google module that say who calls."""

    auth_kind: str
    scopes: Sequence[str]
    service_account_file: str | None = None
    service_account_contents: str | Mapping[str, Any] | None = None
    service_account_email: str | None = None
    access_token: str | None = None
    impersonate_service_account: str | None = None
    iam_endpoint: str | None = None

    def check(self) -> None:
        """Raise ConfigError where options contradict each other or one is missing."""
        needs = {
            "serviceaccount": ("service_account_file", "service_account_contents"),
            "accesstoken": ("access_token",),
        }.get(self.auth_kind, ())
        given = [name for name in needs if getattr(self, name)]
        if needs and not given:
            variables = " or ".join(f"GCP_{name.upper()}" for name in needs)
            raise ConfigError(
                f"auth_kind {self.auth_kind} needs {' or '.join(needs)} (or the environment"
                f" variable {variables})"
            )
        if len(given) > 1:
            raise ConfigError(f"{' and '.join(given)} exclude each other: give one")


def credentials(options: AuthOptions, http: Http) -> tuple[Credentials, str]:
    """Return the credentials, and the caller's e-mail address where it is known ("" otherwise)."""
    options.check()
    if options.auth_kind == "accesstoken":
        token = (options.access_token or "").strip()  # one from a file ends in a newline
        if not re.fullmatch(r"[!-~]+", token):
            raise ConfigError(
                "access_token is malformed: it contains whitespace or non-ASCII characters"
            )
        base: Any = AccessToken(token)
        caller = ""
    else:
        base, caller = _base(options, http)
    if options.impersonate_service_account:
        return _impersonated(base, options), options.impersonate_service_account
    return base, caller


def refresh(current: Credentials, http: Http) -> None:
    """Renew a token.

    Raises CredentialsError where Google refuses, TokenUnavailable where it did not answer.
    """
    if isinstance(current, AccessToken):
        return
    from google.auth import exceptions

    try:
        current.refresh(http)
    except exceptions.RefreshError as error:
        raise CredentialsError(_refused(current, error)) from error
    except exceptions.TransportError as error:
        raise TokenUnavailable(f"No access token: {_first(error)}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # from google-auth's parser
        raise TokenUnavailable(
            "No access token: the answer of the token endpoint is not Google's. Check the proxy, the"
            " network and token_uri of the credentials."
        ) from error


def access_token(options: AuthOptions, http: Http) -> tuple[str, datetime | None]:
    """Return an OAuth access token and when it expires, if that is known.

    Google's own APIs take a JWT signed by the key instead, but a cluster does not.
    """
    current: Any
    current, _caller = credentials(options, http)
    if hasattr(current, "with_always_use_jwt_access"):
        current = current.with_always_use_jwt_access(False)
    if not current.valid:
        refresh(current, http)
    expiry = getattr(current, "expiry", None)  # UTC, without saying so
    return current.token or "", expiry.replace(tzinfo=UTC) if expiry else None


def _base(options: AuthOptions, http: Http) -> tuple[Any, str]:
    try:
        if options.auth_kind == "serviceaccount":
            return _service_account(options)
        if options.auth_kind == "machineaccount":
            from google.auth import compute_engine

            email = options.service_account_email or "default"
            machine = compute_engine.Credentials(email, scopes=options.scopes)
            return machine, options.service_account_email or ""
        return _application(options, http)
    except ImportError as error:
        raise ConfigError(
            f"auth_kind {options.auth_kind} needs the Python package google-auth on the host that"
            f" runs the module: pip install google-auth ({error})"
        ) from error


def _signer(info: dict[str, Any]) -> Any:
    """Return what signs with a service account's key.

    The key's primes are not tested, as google-auth has it done: Google made them, and it takes 40 ms.
    """
    from google.auth import crypt

    text, number = info["private_key"], info.get("private_key_id")
    try:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:  # google-auth before 2.44 does with rsa
        return crypt.RSASigner.from_string(text, number)
    key = load_pem_private_key(text.encode(), None, unsafe_skip_rsa_key_validation=True)
    return crypt.RSASigner(key, number)


def _service_account(options: AuthOptions) -> tuple[Any, str]:
    from google.oauth2 import service_account

    where = options.service_account_file or "service_account_contents"
    contents = options.service_account_contents
    try:
        if options.service_account_file:
            with open(options.service_account_file, encoding="utf-8") as file:
                info = json.load(file)
        else:
            info = json.loads(contents) if isinstance(contents, str) else contents
        key = service_account.Credentials(
            _signer(info),
            service_account_email=info["client_email"],
            token_uri=info["token_uri"],
            universe_domain=info.get("universe_domain", "googleapis.com"),
            scopes=list(options.scopes),
        )
    except OSError as error:
        raise ConfigError(f"service_account_file cannot be read: {error}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # never quote the key
        raise ConfigError(
            f"{where} is not a service account key: JSON with client_email, private_key and token_uri"
            " is expected, as 'gcloud iam service-accounts keys create' writes it"
        ) from error
    # A JWT that the key signs is taken as an access token, which saves the request for one.
    return key.with_always_use_jwt_access(True), key.service_account_email


def _application(options: AuthOptions, http: Http) -> tuple[Any, str]:
    import google.auth
    from google.auth import exceptions

    try:
        found, _project = google.auth.default(scopes=list(options.scopes), request=http)
    except exceptions.DefaultCredentialsError as error:
        raise CredentialsError(
            "There are no application default credentials. Run 'gcloud auth application-default"
            " login', set GOOGLE_APPLICATION_CREDENTIALS, or use auth_kind serviceaccount with"
            f" service_account_file. ({_first(error)})"
        ) from error
    if hasattr(found, "with_always_use_jwt_access"):
        found = found.with_always_use_jwt_access(True)
    return found, getattr(found, "service_account_email", "") or ""


def _impersonated(base: Any, options: AuthOptions) -> Any:
    from google.auth import impersonated_credentials

    if isinstance(base, AccessToken):
        from google.oauth2.credentials import Credentials as OAuthCredentials

        base = OAuthCredentials(base.token)
    override = None
    if options.iam_endpoint:
        account = options.impersonate_service_account
        override = (
            f"{options.iam_endpoint}/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
        )
    return impersonated_credentials.Credentials(
        source_credentials=base,
        target_principal=options.impersonate_service_account,
        target_scopes=list(options.scopes),
        lifetime=IMPERSONATED_SECONDS,
        iam_endpoint_override=override,
    )


def _refused(current: Any, error: Exception) -> str:
    """Return why getting a token failed, with the remedy; `error` is google-auth's, with Google's answer if any."""
    from google.auth import compute_engine, impersonated_credentials

    if isinstance(current, compute_engine.Credentials):
        return (
            f"The metadata server of this machine gives no token: {_first(error)}. Check"
            " service_account_email, and which service account the machine has."
        )
    if isinstance(current, impersonated_credentials.Credentials):
        account = current.service_account_email
        answer = _json(error.args[-1])
        if isinstance(answer.get("error"), Mapping):
            code = int(answer["error"].get("code", 0))
            return str(from_answer(code, answer, f"acting as {account}"))
        return f"Acting as {account}: {_first(error)}."
    return (
        f"Google refuses the credentials: {_first(error)}. A key may be deleted or its account"
        " disabled, the clock of this machine wrong, or a login expired: for the latter run"
        " 'gcloud auth application-default login'."
    )


def _json(text: Any) -> Mapping[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str | bytes) else text
    except ValueError:
        return {}
    return found if isinstance(found, Mapping) else {}


def _first(error: Any) -> str:
    """Return the words of an error, which may be about another error."""
    args = getattr(error, "args", error)
    while isinstance(args, tuple) and args:
        error = args[0]
        args = getattr(error, "args", error)
    return str(error).rstrip(".")
