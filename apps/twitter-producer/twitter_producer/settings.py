"""Environment configuration; the table in README.md is the contract."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

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

from twitter_producer import query as queries

WEEK_SECONDS = 7 * 24 * 3600
X_SOURCES = {"search", "stream", "replay"}
#: The events' `type` where EVENT_TYPE does not say another; X's is that of all its sources.
EVENT_TYPES = {
    "jetstream": "app.bsky.feed.post",
    "mastodon": "org.joinmastodon.status",
    "feed": "com.streamops.feed.entry",
}
_MOST_FEEDS_IN_CONFIGMAP = 500
_HASHTAG = re.compile(r"#?\w{1,100}")
_COLLECTION = re.compile(r"[a-zA-Z0-9-]{1,63}(\.[a-zA-Z0-9-]{1,63}){1,8}(\.\*)?")
#: How each network names an author, with an example for the message; feeds have free names.
_AUTHORS = {
    "jetstream": (re.compile(r"did:[a-z]{1,20}:[A-Za-z0-9._:%-]{1,200}"), "did:plc:abc123"),
    "mastodon": (re.compile(r"@?\w{1,64}(@[\w.:-]{1,253})?"), "ada@example.social"),
    **dict.fromkeys(X_SOURCES, (re.compile(r"@?\w{1,20}", re.A), "knativeproject")),
}
#: The specification recommends up to 20 characters; more are valid.
_EXTENSION = re.compile(r"[a-z0-9]{1,100}")
_LONGEST_SHOWN = 1000
_FIELD = re.compile(r"[a-z_]{1,40}")
_KEY = re.compile(r"[A-Za-z0-9_.~+/=%:-]{1,4096}")
MALFORMED_KEY = (
    "is malformed: it contains characters that a key of X cannot have "
    "(give the key alone, without quotes, JSON or line breaks)"
)
_ATTRIBUTES = {
    "id", "source", "type", "specversion", "time", "subject", "datacontenttype", "dataschema", "data",
}  # fmt: skip


class SettingsError(Exception):
    """One or more settings are wrong; the message names every one."""


def usable_key(key: str) -> bool:
    """Return whether X could have issued this key: it has none of the characters of JSON."""
    return _KEY.fullmatch(key) is not None


def without_secrets(url: str) -> str:
    """Return a URL to be shown: without user, password and query."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    path = path.partition("?")[0].partition("#")[0]
    authority = authority.rpartition("@")[2].partition("?")[0]
    return scheme.partition("?")[0] + separator + authority + slash + path


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _http_url(value: str) -> str:
    url = urlsplit(value)
    if value and (url.scheme not in {"http", "https"} or not url.hostname):
        raise ValueError("is not a URL such as http://sink.namespace.svc.cluster.local")
    return value


def _websocket_url(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in {"ws", "wss"} or not url.hostname:
        raise ValueError("is not a URL such as wss://jetstream2.us-east.bsky.network/subscribe")
    return value


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("contains control characters")
    return value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Url = Annotated[str, AfterValidator(_http_url)]
WebSocketUrl = Annotated[str, AfterValidator(_websocket_url)]
Seconds = Annotated[float, Field(gt=0)]


class Settings(BaseSettings):
    """The producer's settings; each field is the environment variable of its name in capitals."""

    model_config = SettingsConfigDict(extra="ignore", validate_default=True, frozen=True)

    # What to read
    pipeline: str = "twitter"
    source: Literal["search", "stream", "replay", "jetstream", "mastodon", "feed"] = "search"
    topics: Words = ()
    languages: Words = ()
    excludes: Words = ()
    authors: Words = ()
    query_max_length: Annotated[int, Field(ge=1, le=4096)] = 512
    query: str = ""
    poll_interval_seconds: Seconds = 30
    lookback_seconds: Annotated[float, Field(ge=0, le=WEEK_SECONDS)] = 3600
    overlap_seconds: Annotated[float, Field(ge=0, le=3600)] = 30
    max_results: Annotated[int, Field(ge=10, le=100)] = 100
    max_pages: Annotated[int, Field(ge=1, le=100)] = 10
    post_fields: Words = ("created_at", "lang", "note_tweet")
    author_names: bool = False
    replay_file: Path | None = None
    replay_rate: Annotated[float, Field(ge=0)] = 0
    x_api_url: Url = "https://api.twitter.com"
    x_timeout_seconds: Seconds = 15
    compliance_interval_seconds: Annotated[float, Field(ge=0)] = 43_200
    jetstream_url: WebSocketUrl = "wss://jetstream2.us-east.bsky.network/subscribe"
    collections: Words = ("app.bsky.feed.post",)
    mastodon_url: Url = "https://mastodon.social"
    source_token_file: Path | None = None
    feeds: Words = ()
    feeds_file: Path | None = None
    feed_interval_seconds: Annotated[float, Field(ge=1)] = 900
    source_timeout_seconds: Seconds = 15

    # Where it goes
    k_sink: Url = ""
    k_ce_overrides: str = ""
    k_ca_certs: str = ""
    ca_bundles_dir: Path = Path("/knative-custom-certs")
    oidc_token_file: Path = Path("/oidc/token")
    sink_token_file: Path | None = None
    event_source: Annotated[str, AfterValidator(_printable)] = ""
    event_type: Annotated[str, AfterValidator(_printable)] = ""
    delivery_mode: Literal["binary", "structured", "batch"] = "binary"
    batch_size: Annotated[int, Field(ge=1, le=1000)] = 100
    delivery_concurrency: Annotated[int, Field(ge=1, le=32)] = 1
    delivery_timeout_seconds: Seconds = 10
    delivery_retries: Annotated[int, Field(ge=-1)] = -1
    backoff_seconds: Seconds = 0.2
    backoff_max_seconds: Seconds = 60
    retry_after_max_seconds: Seconds = 300
    dead_letter_sink: Url = ""
    dead_letter_file: Path | None = None

    # What it may cost
    budget_posts: Annotated[int, Field(ge=0)] = 2000
    budget_price: Annotated[float, Field(ge=0)] = 0.005
    budget_author_price: Annotated[float, Field(ge=0)] = 0.01
    budget_stretch_from: Annotated[float, Field(gt=0, le=1)] = 0.8

    # Credentials
    credentials: Literal["secretmanager", "files", "environment"] = "environment"
    credentials_refresh_seconds: Seconds = 900
    x_api_key: SecretStr = SecretStr("")
    x_api_secret: SecretStr = SecretStr("")
    x_access_key: SecretStr = SecretStr("")
    x_access_secret: SecretStr = SecretStr("")
    x_bearer_token: SecretStr = SecretStr("")
    credentials_dir: Path = Path("/etc/twitter")
    google_cloud_project: str = ""
    secret_api_key: str = "twitter-api-key"  # noqa: S105 - a secret's name
    secret_api_secret: str = "twitter-api-secret"  # noqa: S105 - a secret's name
    secret_access_key: str = "twitter-access-key"  # noqa: S105 - a secret's name
    secret_access_secret: str = "twitter-access-secret"  # noqa: S105 - a secret's name
    secret_bearer_token: str = ""
    secret_manager_url: Url = "https://secretmanager.googleapis.com"  # noqa: S105 - an address
    secret_manager_timeout_seconds: Seconds = 10

    # State
    state: Literal["configmap", "file", "none"] = "none"
    state_configmap: str = "twitter-producer-state"
    state_file: Path | None = None
    lease: str = ""
    lease_duration_seconds: Annotated[int, Field(ge=3, le=3600)] = 30
    service_account_dir: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    #: Where pods share a node's host name, the variable tells them apart.
    pod_name: str = Field(
        default_factory=lambda: os.environ.get("HOSTNAME") or socket.gethostname()
    )
    kubernetes_timeout_seconds: Seconds = 10

    # Operations
    host: str = "0.0.0.0"  # noqa: S104 - a container's port is reached through the pod's address
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    probe_enabled: bool = True
    run_once: bool = False
    shutdown_grace_seconds: Seconds = 25
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, values: Any) -> Any:
        # Templates write `NAME=` for what is not set; only for a secret's name does it say "none".
        return {
            name: value
            for name, value in values.items()
            if value != "" or name.lower().startswith("secret_")
        }

    # The checks across fields stand at the later field, so that all problems show up together.

    @field_validator("authors")
    @classmethod
    def _authors_are_the_networks(
        cls, authors: tuple[str, ...], info: ValidationInfo
    ) -> tuple[str, ...]:
        source = str(info.data.get("source"))
        if source in _AUTHORS:
            pattern, example = _AUTHORS[source]
            for author in authors:
                if not pattern.fullmatch(author):
                    raise ValueError(f"{author!r} is not an account such as {example}")
        wanted = authors or info.data.get("topics") or info.data.get("languages")
        if source == "jetstream" and not wanted:
            raise ValueError("that would be every post: set TOPICS, LANGUAGES or AUTHORS")
        return authors

    @field_validator("query")
    @classmethod
    def _query_fits_x(cls, query: str, info: ValidationInfo) -> str:
        given = info.data
        names = ("topics", "languages", "excludes", "authors")
        topics, languages, excludes, authors = (given.get(name, ()) for name in names)
        source = given.get("source")
        if source not in X_SOURCES:
            if query:
                raise ValueError(f"QUERY is in X's language: SOURCE={source} takes TOPICS")
            return query
        if source == "replay":
            return query
        if query and (topics or languages or excludes or authors):
            raise ValueError("QUERY stands alone: leave out TOPICS, LANGUAGES, EXCLUDES, AUTHORS")
        if not query and not topics and not authors:
            raise ValueError("name what to look for: set TOPICS or AUTHORS (or QUERY)")
        return queries.check(
            query or queries.build(topics, languages, excludes, authors),
            given.get("query_max_length", 512),
        )

    @field_validator("replay_file")
    @classmethod
    def _replay_needs_file(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if info.data.get("source") == "replay" and (path is None or not path.is_file()):
            raise ValueError("SOURCE=replay needs an existing file of posts")
        return path

    @field_validator("topics")
    @classmethod
    def _topics_are_hashtags(cls, topics: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("source") != "mastodon":
            return topics
        if not topics:
            raise ValueError(
                "SOURCE=mastodon reads hashtags: name them, such as knative,kubernetes"
            )
        for topic in topics:
            if not _HASHTAG.fullmatch(topic):
                raise ValueError(f"{topic!r} is not a hashtag: letters, digits and _ only")
        return topics

    @field_validator("collections")
    @classmethod
    def _collections_are_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _COLLECTION.fullmatch(name):
                raise ValueError(f"{name!r} is not a collection such as app.bsky.feed.post")
        return names

    @field_validator("feeds_file")
    @classmethod
    def _feeds_are_urls(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if info.data.get("source") != "feed":
            return path
        urls = _feed_urls(info.data.get("feeds", ()), path)
        if not urls:
            raise ValueError("SOURCE=feed needs the feeds' URLs: set FEEDS or FEEDS_FILE")
        for url in urls:
            _http_url(url)
        return path

    @field_validator("event_source")
    @classmethod
    def _source_of_network(cls, source: str, info: ValidationInfo) -> str:
        if source:
            return source
        kind = info.data.get("source")
        if kind == "mastodon":
            return str(info.data.get("mastodon_url"))
        return {"jetstream": "https://bsky.app", "feed": "urn:feeds"}.get(
            str(kind), "https://x.com"
        )

    @field_validator("event_type")
    @classmethod
    def _type_of_network(cls, name: str, info: ValidationInfo) -> str:
        return name or EVENT_TYPES.get(str(info.data.get("source")), "com.x.post")

    @field_validator("post_fields")
    @classmethod
    def _fields_are_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _FIELD.fullmatch(name):
                raise ValueError(f"{name!r} is not a field of a post such as created_at")
        return names

    @field_validator("x_api_key", "x_api_secret", "x_access_key", "x_access_secret")
    @classmethod
    def _keys_are_keys(cls, key: SecretStr) -> SecretStr:
        if key.get_secret_value() and not usable_key(key.get_secret_value()):
            raise ValueError(MALFORMED_KEY)
        return key

    @field_validator("k_sink")
    @classmethod
    def _sink_is_there(cls, sink: str) -> str:
        if not sink:
            raise ValueError(
                "no sink: it is set by a SinkBinding or ContainerSource whose sink is ready "
                "(kubectl get sinkbinding), or by hand to the URL that takes the events"
            )
        return sink

    @field_validator("k_ce_overrides")
    @classmethod
    def _overrides_are_extensions(cls, text: str) -> str:
        parse_overrides(text)
        return text

    @field_validator("k_ca_certs")
    @classmethod
    def _authorities_are_pem(cls, text: str) -> str:
        try:
            if text:
                ssl.create_default_context(cadata=text)
        except (ssl.SSLError, ValueError) as error:
            raise ValueError(f"is not PEM text of certificates: {error}") from error
        return text

    @field_validator("google_cloud_project")
    @classmethod
    def _secret_manager_needs_project(cls, project: str, info: ValidationInfo) -> str:
        if info.data.get("credentials") == "secretmanager" and not project:
            raise ValueError("CREDENTIALS=secretmanager needs the project that holds the secrets")
        return project

    @field_validator("x_bearer_token")
    @classmethod
    def _environment_has_keys(cls, bearer: SecretStr, info: ValidationInfo) -> SecretStr:
        names = ("x_api_key", "x_api_secret", "x_access_key", "x_access_secret")
        if bearer.get_secret_value() and not usable_key(bearer.get_secret_value()):
            raise ValueError(MALFORMED_KEY)
        if not set(names) <= info.data.keys():  # malformed, and reported already
            return bearer
        given = [name for name in names if info.data[name].get_secret_value()]
        needed = info.data.get("source") in {"search", "stream"}
        if info.data.get("credentials") != "environment" or not needed:
            return bearer
        if not bearer.get_secret_value() and given not in (list(names), list(names[:2])):
            missing = ", ".join(name.upper() for name in names if name not in given)
            raise ValueError(f"no bearer and no complete set of keys: set {missing}")
        return bearer

    @field_validator("run_once")
    @classmethod
    def _stream_has_no_end(cls, run_once: bool, info: ValidationInfo) -> bool:
        if run_once and info.data.get("source") in {"stream", "jetstream"}:
            raise ValueError("a stream never ends: use another SOURCE, such as search")
        return run_once

    @field_validator("state_file")
    @classmethod
    def _state_needs_file(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if info.data.get("state") == "file" and path is None:
            raise ValueError("STATE=file needs the path of the file")
        return path

    @field_validator("state")
    @classmethod
    def _state_holds_the_feeds(cls, state: str, info: ValidationInfo) -> str:
        if state != "configmap" or info.data.get("source") != "feed":
            return state
        count = len(_feed_urls(info.data.get("feeds", ()), info.data.get("feeds_file")))
        if count > _MOST_FEEDS_IN_CONFIGMAP:
            raise ValueError(
                f"a ConfigMap holds the state of {_MOST_FEEDS_IN_CONFIGMAP} feeds, not of {count}: "
                "use STATE=file on a volume, or several pipelines"
            )
        return state

    @property
    def feed_urls(self) -> tuple[str, ...]:
        """The URLs in FEEDS and FEEDS_FILE, each once."""
        return _feed_urls(self.feeds, self.feeds_file)

    @property
    def overrides(self) -> dict[str, str]:
        """The extensions of K_CE_OVERRIDES."""
        return parse_overrides(self.k_ce_overrides)


def _feed_urls(feeds: tuple[str, ...], path: Path | None) -> tuple[str, ...]:
    """Return the URLs, each once; ValueError if the file cannot be read."""
    listed: list[str] = []
    if path is not None:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"cannot be read: {error}") from error
        listed = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return tuple(dict.fromkeys([*feeds, *listed]))


def parse_overrides(text: str) -> dict[str, str]:
    """Return the extensions in K_CE_OVERRIDES: JSON `{"extensions": {...}}` or nothing at all."""
    if not text:
        return {}
    example = 'is not JSON like {"extensions": {"name": "value"}}'
    try:
        extensions = json.loads(text).get("extensions") or {}
    except (ValueError, AttributeError) as error:
        raise ValueError(example) from error
    if not isinstance(extensions, dict) or not all(isinstance(v, str) for v in extensions.values()):
        raise ValueError(example)
    for name, value in extensions.items():
        if not value.isprintable():
            raise ValueError(f"the value of {name!r} contains control characters")
        if not _EXTENSION.fullmatch(name) or name in _ATTRIBUTES:
            raise ValueError(f"{name!r} is not a valid extension name: use a-z and 0-9")
    return extensions


def load() -> Settings:
    """Read the settings from the environment; SettingsError names everything that is wrong."""
    try:
        return Settings()
    except ValidationError as problems:
        lines = []
        hidden = {"K_CA_CERTS"} | {
            name.upper()
            for name, field in Settings.model_fields.items()
            if field.annotation is SecretStr
        }
        for problem in problems.errors(include_url=False, include_context=False):
            name = str(problem["loc"][0]).upper() if problem["loc"] else "settings"
            message = problem["msg"].removeprefix("Value error, ")
            value = problem.get("input")
            shown = isinstance(value, str | int | float) and value != "" and name not in hidden
            if isinstance(value, str):
                value = without_secrets(value) if "://" in value else value[:_LONGEST_SHOWN]
            lines.append(f"{name}={value}: {message}" if shown else f"{name}: {message}")
        raise SettingsError("; ".join(lines)) from None
