"""Environment configuration; the tables in README.md are the contract."""

from __future__ import annotations

import ipaddress
import os
import urllib.parse
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

#: Variables whose values are not repeated in messages.
SECRET = ("READ_TOKEN", "WRITE_TOKEN", "PROXY_TOKEN")


class SettingsError(Exception):
    """Settings that cannot be used; `problems` names every one of them."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def is_http_url(value: str) -> bool:
    """Return whether a text is a URL of http or https."""
    try:
        parts = urllib.parse.urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _http_url(value: str) -> str:
    if value and value != "*" and not is_http_url(value):
        raise ValueError("is not a valid http or https URL")
    return value


def _readable_file(path: Path | None) -> Path | None:
    if path is not None and not os.access(path, os.R_OK):
        raise ValueError(f"cannot read {path}")
    return path


def _secret_file(path: Path | None) -> Path | None:
    if path is not None:
        try:
            if not path.read_bytes().strip():
                raise ValueError(f"{path} is empty")
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror}") from error
    return path


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Networks = Annotated[
    tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...], NoDecode, BeforeValidator(_split)
]
Url = Annotated[str, AfterValidator(_http_url)]
Urls = Annotated[tuple[Url, ...], NoDecode, BeforeValidator(_split)]
SecretFile = Annotated[Path | None, AfterValidator(_secret_file)]
ReadableFile = Annotated[Path | None, AfterValidator(_readable_file)]
Seconds = Annotated[float, Field(ge=0.1, le=3600)]


class Settings(BaseSettings):
    """The viewer's settings; each field is the environment variable of its name in capitals."""

    model_config = SettingsConfigDict(extra="ignore", validate_default=True, frozen=True)

    # Storage and retention
    store: Annotated[str, Field(repr=False)] = ""
    store_password_file: SecretFile = None
    store_prefix: str = "event-viewer"
    store_timeout_seconds: Seconds = 5
    keep_events: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    keep_seconds: Annotated[int, Field(ge=0, le=3650 * 86400)] = 7 * 86400
    keep_bytes: Annotated[int, Field(ge=1 << 20, le=1 << 40)] = 1 << 30
    keep_rejected: Annotated[int, Field(ge=0, le=10_000)] = 200

    # Limits
    max_pending_bytes: Annotated[int, Field(ge=1 << 16, le=1 << 32)] = 16 << 20
    max_body_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 1 << 20
    max_batch_events: Annotated[int, Field(ge=1, le=100_000)] = 1000
    max_connections: Annotated[int, Field(ge=1, le=60_000)] = 1000
    max_streams: Annotated[int, Field(ge=0, le=60_000)] = 500
    request_timeout_seconds: Seconds = 15
    search_timeout_seconds: Seconds = 2

    # Authorisation
    trusted_proxies: Networks = ()
    proxy_token: SecretStr = SecretStr("")
    proxy_token_file: SecretFile = None
    user_header: str = ""
    read_users: Words = ("*",)
    write_users: Words = ()
    write_token: SecretStr = SecretStr("")
    write_token_file: SecretFile = None
    read_token: SecretStr = SecretStr("")
    read_token_file: SecretFile = None
    trigger_port: Annotated[int, Field(ge=0, le=65535)] = 0
    replay_sink: Url = ""
    replay_sinks: Urls = ()
    replay_timeout_seconds: Seconds = 10

    # Operations
    pipelines_file: ReadableFile = None
    host: str = "0.0.0.0"  # noqa: S104 - a container's port is reached through the pod's address
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    log_events: bool = True
    log_text_length: Annotated[int, Field(ge=0, le=100_000)] = 200
    log_events_per_second: Annotated[int, Field(ge=0, le=1_000_000)] = 1000
    shutdown_grace_seconds: Annotated[int, Field(ge=1, le=3600)] = 10
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    #: Set by Knative Serving.
    k_revision: str = ""

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, values: Any) -> Any:
        stripped = {
            name: value.strip() if isinstance(value, str) else value
            for name, value in values.items()
        }
        return {name: value for name, value in stripped.items() if value != ""}

    # The checks across fields stand at the later field, so that all problems show up together.

    @field_validator("store")
    @classmethod
    def _store_is_supported(cls, store: str) -> str:
        if not store or store.startswith(("redis://", "rediss://")):
            return store
        if "://" in store:
            raise ValueError("has to be a file's path, redis://HOST[:PORT][/DB] or rediss://…")
        path = Path(store)
        if not path.parent.is_dir():
            raise ValueError(f"there is no folder {path.parent}; mount a volume there")
        return store

    @field_validator("max_body_bytes")
    @classmethod
    def _body_fits(cls, size: int, info: ValidationInfo) -> int:
        if size > info.data.get("max_pending_bytes", size):
            raise ValueError("has to be at most MAX_PENDING_BYTES")
        return size

    @field_validator("log_level", mode="before")
    @classmethod
    def _level_in_capitals(cls, level: object) -> object:
        return level.upper() if isinstance(level, str) else level

    @field_validator("user_header")
    @classmethod
    def _user_header_is_believed(cls, name: str, info: ValidationInfo) -> str:
        given = info.data
        if name and not (
            given.get("trusted_proxies")
            or given.get("proxy_token_file")
            or given["proxy_token"].get_secret_value()
        ):
            raise ValueError(
                "needs PROXY_TOKEN_FILE or TRUSTED_PROXIES: without it anybody could send the header"
            )
        return name.lower()

    @field_validator("write_users")
    @classmethod
    def _users_need_header(cls, users: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if users and not info.data.get("user_header"):
            raise ValueError("needs USER_HEADER, the header in which a proxy names the user")
        return users

    @field_validator("write_token_file", "read_token_file", "proxy_token_file")
    @classmethod
    def _one_token(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        name = str(info.field_name).removesuffix("_file")
        if path and name in info.data and info.data[name].get_secret_value():
            raise ValueError(f"and {name.upper()} are both set: keep one")
        return path

    @field_validator("port")
    @classmethod
    def _ports_differ(cls, port: int, info: ValidationInfo) -> int:
        if port and port == info.data.get("trigger_port"):
            raise ValueError("and TRIGGER_PORT have to differ")
        return port

    @field_validator("k_revision")
    @classmethod
    def _queue_proxy_hides_addresses(cls, revision: str, info: ValidationInfo) -> str:
        if revision and info.data.get("trusted_proxies"):
            raise ValueError(
                "TRUSTED_PROXIES cannot be used in a Knative Service, where every request comes"
                " from the queue-proxy: set PROXY_TOKEN_FILE, and let the proxy send it in"
                " X-Proxy-Token"
            )
        return revision


def load(**values: str) -> Settings:
    """Return the settings of the environment, changed by `values`.

    Raises:
        SettingsError: Names everything that is wrong.
    """
    try:
        return Settings(**values)  # type: ignore[arg-type] # texts, as the environment has them
    except ValidationError as problems:
        lines = []
        for problem in problems.errors(include_url=False, include_context=False):
            name = str(problem["loc"][0]).upper() if problem["loc"] else "settings"
            message = problem["msg"].removeprefix("Value error, ")
            value = problem.get("input")
            shown = isinstance(value, str | int | float) and value != "" and name not in SECRET
            if name == "STORE" and "@" in str(value):
                shown = False
            lines.append(f"{name}={value}: {message}" if shown else f"{name}: {message}")
        raise SettingsError(lines) from None
