"""The settings, read from the environment. README.md has the table."""

from __future__ import annotations

import ipaddress
import os
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SettingsError(Exception):
    """Settings that cannot be used; `problems` names every one of them."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Settings:
    """What README.md describes; sizes in bytes, times in seconds, paths below the mount point."""

    host: str
    port: int
    workers: int
    store: str = field(repr=False)  # may hold a password
    store_password_file: Path | None
    store_prefix: str
    store_timeout: float
    keep_events: int
    keep_seconds: int
    keep_bytes: int
    keep_rejected: int
    max_body: int
    max_batch: int
    max_pending: int
    max_connections: int
    max_streams: int
    request_timeout: float
    write_token: str = field(repr=False)
    write_token_file: Path | None
    read_token: str = field(repr=False)
    read_token_file: Path | None
    user_header: str
    read_users: tuple[str, ...]
    write_users: tuple[str, ...]
    trusted_proxies: tuple[Network, ...]
    replay_sink: str
    replay_sinks: tuple[str, ...]
    replay_timeout: float
    log_events: bool
    log_text_length: int
    log_rate: int
    shutdown_grace: int
    log_level: str
    #: The store is a file of the process's own, gone at its end (no setting: STORE is empty).
    temporary: bool = False


class _Reader:
    """Reads variables of the environment and collects what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        return self.environ.get(name, "").strip() or default

    def list(self, name: str, default: str = "") -> tuple[str, ...]:
        parts = self.text(name, default).split(",")
        return tuple(part.strip() for part in parts if part.strip())

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        return int(self._number(name, default, low, high, int))

    def seconds(self, name: str, default: float, low: float = 0.1, high: float = 3600) -> float:
        return self._number(name, default, low, high, float)

    def _number(
        self, name: str, default: float, low: float, high: float, kind: Callable[[str], float]
    ) -> float:
        text = self.text(name)
        if not text:
            return default
        try:
            value = kind(text)
        except ValueError:
            value = high + 1
        if low <= value <= high:
            return value
        what = "a whole number" if kind is int else "a number"
        self.problems.append(f"{name}={text!r} has to be {what} from {low} to {high}")
        return default

    def flag(self, name: str, default: bool) -> bool:
        text = self.text(name).lower()
        if text in ("true", "1", "yes", "on"):
            return True
        if text in ("false", "0", "no", "off"):
            return False
        if text:
            self.problems.append(f"{name}={text!r} has to be true or false")
        return default

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.text(name, default).upper()
        if value not in choices:
            self.problems.append(f"{name}={value!r} has to be one of {', '.join(choices)}")
            return default
        return value

    def path(self, name: str) -> Path | None:
        text = self.text(name)
        return Path(text) if text else None

    def secret_file(self, name: str) -> Path | None:
        path = self.path(name)
        if path is not None:
            try:
                if not path.read_text().strip():
                    self.problems.append(f"{name}: {path} is empty")
            except (OSError, UnicodeDecodeError) as error:
                self.problems.append(f"{name}: cannot read {path}: {error}")
        return path

    def networks(self, name: str) -> tuple[Network, ...]:
        found = []
        for text in self.list(name):
            try:
                found.append(ipaddress.ip_network(text))
            except ValueError as error:
                self.problems.append(f"{name}: {error}")
        return tuple(found)

    def url(self, name: str, text: str) -> str:
        if text and text != "*":
            parts = urllib.parse.urlsplit(text)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                self.problems.append(f"{name}={text!r} has to be an http or https URL")
        return text

    def store(self) -> str:
        """A Redis URL, the path of a SQLite file, or nothing."""
        text = self.text("STORE")
        if not text or text.startswith(("redis://", "rediss://")):
            return text
        if "://" in text:
            self.problems.append(
                f"STORE={text!r} has to be a file's path, redis://HOST[:PORT][/DB] or rediss://…"
            )
            return ""
        path = Path(text)
        if not path.parent.is_dir():
            self.problems.append(f"STORE: there is no folder {path.parent}; mount a volume there")
        return str(path)


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in `environ`; raises SettingsError naming all that are wrong."""
    read = _Reader(environ)
    settings = Settings(
        host=read.text("HOST", "0.0.0.0"),  # noqa: S104 - a container serves its pod's network
        port=read.integer("PORT", 8080, 0, 65535),
        workers=read.integer("WORKERS", 1, 1, 64),
        store=read.store(),
        store_password_file=read.secret_file("STORE_PASSWORD_FILE"),
        store_prefix=read.text("STORE_PREFIX", "event-viewer"),
        store_timeout=read.seconds("STORE_TIMEOUT_SECONDS", 5),
        keep_events=read.integer("KEEP_EVENTS", 10_000, 1, 10_000_000),
        keep_seconds=read.integer("KEEP_SECONDS", 7 * 86400, 0, 3650 * 86400),
        keep_bytes=read.integer("KEEP_BYTES", 1 << 30, 1 << 20, 1 << 40),
        keep_rejected=read.integer("KEEP_REJECTED", 200, 0, 10_000),
        max_body=read.integer("MAX_BODY_BYTES", 1 << 20, 1024, 1 << 30),
        max_batch=read.integer("MAX_BATCH_EVENTS", 1000, 1, 100_000),
        max_pending=read.integer("MAX_PENDING_BYTES", 16 << 20, 1 << 16, 1 << 32),
        max_connections=read.integer("MAX_CONNECTIONS", 1000, 1, 60_000),
        max_streams=read.integer("MAX_STREAMS", 500, 0, 60_000),
        request_timeout=read.seconds("REQUEST_TIMEOUT_SECONDS", 15),
        write_token=read.text("WRITE_TOKEN"),
        write_token_file=read.secret_file("WRITE_TOKEN_FILE"),
        read_token=read.text("READ_TOKEN"),
        read_token_file=read.secret_file("READ_TOKEN_FILE"),
        user_header=read.text("USER_HEADER").lower(),
        read_users=read.list("READ_USERS", "*"),
        write_users=read.list("WRITE_USERS"),
        trusted_proxies=read.networks("TRUSTED_PROXIES"),
        replay_sink=read.url("REPLAY_SINK", read.text("REPLAY_SINK")),
        replay_sinks=tuple(read.url("REPLAY_SINKS", sink) for sink in read.list("REPLAY_SINKS")),
        replay_timeout=read.seconds("REPLAY_TIMEOUT_SECONDS", 10),
        log_events=read.flag("LOG_EVENTS", True),
        log_text_length=read.integer("LOG_TEXT_LENGTH", 200, 0, 100_000),
        log_rate=read.integer("LOG_EVENTS_PER_SECOND", 1000, 0, 1_000_000),
        shutdown_grace=read.integer("SHUTDOWN_GRACE_SECONDS", 10, 1, 3600),
        log_level=read.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
    )
    read.problems += _contradictions(settings)
    if read.problems:
        raise SettingsError(read.problems)
    return settings


def _contradictions(settings: Settings) -> list[str]:
    problems = []
    for right in ("READ", "WRITE"):
        if getattr(settings, f"{right.lower()}_token") and getattr(
            settings, f"{right.lower()}_token_file"
        ):
            problems.append(f"{right}_TOKEN and {right}_TOKEN_FILE are both set: keep one")
    if settings.user_header and not settings.trusted_proxies:
        problems.append(
            "USER_HEADER needs TRUSTED_PROXIES: without it anybody could send that header"
        )
    if settings.write_users and not settings.user_header:
        problems.append("WRITE_USERS needs USER_HEADER, the header in which a proxy names the user")
    if settings.max_body > settings.max_pending:
        problems.append("MAX_BODY_BYTES has to be at most MAX_PENDING_BYTES")
    return problems
