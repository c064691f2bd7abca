"""Credentials for X: from Secret Manager, from mounted files, or from the environment."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from twitter_producer.settings import MALFORMED_KEY, Settings, usable_key

log = logging.getLogger(__name__)

_LONGEST_FILE = 64 << 10


class CredentialsError(Exception):
    """The keys could not be read; the message says from where, and why."""


@dataclass(frozen=True, repr=False)
class Keys:
    """What authenticates to X: the app's and the user's key pairs, or a bearer."""

    api_key: str | None = None
    api_secret: str | None = None
    access_key: str | None = None
    access_secret: str | None = None
    bearer_token: str | None = None

    @property
    def user(self) -> bool:
        """Whether requests can be signed for a user (OAuth 1.0a)."""
        return all((self.api_key, self.api_secret, self.access_key, self.access_secret))

    @property
    def complete(self) -> bool:
        """Whether X can be called with them at all."""
        return bool(self.bearer_token or (self.api_key and self.api_secret))


NAMES = tuple(field.name for field in fields(Keys))


def _checked(name: str, key: str, origin: str) -> str | None:
    """Return a key without the whitespace around it; CredentialsError if it is malformed."""
    key = key.strip()
    if key and not usable_key(key):
        raise CredentialsError(f"{origin}: {name} {MALFORMED_KEY}")
    return key or None


class KeyReader(Protocol):
    """A place from which keys are read repeatedly."""

    def read(self) -> Keys:
        """Return the keys as they are now; CredentialsError if there are none."""
        ...


class EnvironmentKeys:
    """Keys given as settings."""

    def __init__(self, settings: Settings) -> None:
        self._keys = Keys(
            **{name: getattr(settings, "x_" + name).get_secret_value() or None for name in NAMES}
        )

    def read(self) -> Keys:
        """Return the keys; they cannot change."""
        return self._keys


class FileKeys:
    """Keys in the files of a folder: a mounted Secret, which Kubernetes updates in place."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> Keys:
        """Return what the files hold now."""
        values: dict[str, str | None] = {}
        for name in NAMES:
            try:
                with (self._folder / name).open("rb") as file:
                    content = file.read(_LONGEST_FILE).decode("utf-8", "replace")
            except FileNotFoundError:
                values[name] = None
            except OSError as error:
                raise CredentialsError(f"{self._folder / name}: {error.strerror}") from error
            else:
                values[name] = _checked(name, content, str(self._folder))
        keys = Keys(**values)
        if not keys.complete:
            raise CredentialsError(
                f"{self._folder} has neither bearer_token nor api_key and api_secret"
            )
        return keys


class SecretManagerKeys:
    """Keys in Google's Secret Manager, read as the pod's own identity."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None
        self._versions: dict[str, str] = {}

    def read(self) -> Keys:
        """Return the newest (or pinned) versions; logs which, whenever that changes."""
        bearer_only = bool(self._settings.secret_bearer_token)
        names = ("bearer_token",) if bearer_only else NAMES[:-1]
        keys = Keys(**{name: self._access(name) for name in names})
        if not keys.complete:
            raise CredentialsError(
                "Secret Manager: set SECRET_BEARER_TOKEN, or SECRET_API_KEY and SECRET_API_SECRET"
            )
        return keys

    def _access(self, name: str) -> str | None:
        secret: str = getattr(self._settings, "secret_" + name)
        if not secret:
            return None
        resource = self._resource(secret)
        # Imported here: it takes 0.1 s and 25 MiB that other ways of starting need not pay.
        from google.api_core.exceptions import GoogleAPIError  # noqa: PLC0415
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415

        try:
            answer = self._connect().access_secret_version(
                name=resource, timeout=self._settings.secret_manager_timeout_seconds, retry=None
            )
        except (GoogleAPIError, GoogleAuthError, OSError) as error:
            raise CredentialsError(f"Secret Manager, {resource}: {error}") from error
        verify_checksum(resource, answer.payload)
        if self._versions.get(name) != answer.name:
            self._versions[name] = answer.name
            log.info("read a secret", extra={"secret": name, "version": answer.name})
        content = answer.payload.data.decode("utf-8", "replace")
        return _checked(name, content, f"Secret Manager, {answer.name}")

    def _resource(self, secret: str) -> str:
        if not secret.startswith("projects/"):
            secret = f"projects/{self._settings.google_cloud_project}/secrets/{secret}"
        return secret if "/versions/" in secret else secret + "/versions/latest"

    def _connect(self) -> Any:
        if self._client is None:
            from google.cloud import secretmanager  # noqa: PLC0415 - see above

            self._client = secretmanager.SecretManagerServiceClient(
                transport="rest",
                client_options={"api_endpoint": self._settings.secret_manager_url},
            )
        return self._client


def verify_checksum(resource: str, payload: Any) -> None:
    """Raise CredentialsError unless the payload has the CRC32C that came with it."""
    import google_crc32c  # noqa: PLC0415 - only where Secret Manager is used

    if payload.data_crc32c != google_crc32c.value(payload.data):
        raise CredentialsError(f"Secret Manager, {resource}: the checksum does not fit the payload")


def reader(settings: Settings) -> KeyReader:
    """Return the reader that the settings ask for."""
    if settings.credentials == "secretmanager":
        return SecretManagerKeys(settings)
    if settings.credentials == "files":
        assert settings.credentials_dir is not None
        return FileKeys(settings.credentials_dir)
    return EnvironmentKeys(settings)
