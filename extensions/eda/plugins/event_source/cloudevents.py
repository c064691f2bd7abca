# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: Apache-2.0
"""Event source of ansible-rulebook that receives CloudEvents over HTTP."""

from __future__ import annotations

DOCUMENTATION = r"""
---
short_description: Receive CloudEvents over HTTP, for example from a Knative Trigger or SinkBinding
description:
  - Serves HTTP and hands the CloudEvents it receives over to the rules, in the binary, structured
    and batch mode of the CloudEvents 1.0 HTTP protocol binding. What is not a valid event is
    answered 400 with the reason.
  - The answer is 202 only after the rulebook's queue, or with O(feedback) the rule engine, has
    taken the event. A sender that gets another answer, or none, sends again, as Knative's Brokers
    do; an event that was taken already is recognised by its C(source) and C(id) and answered 202.
  - Does not start without authentication on an address other than the loopback one, unless
    O(allow_anonymous) is set.
  - C(GET /healthz) and C(GET /readyz) are for probes and need no credentials.
  - Needs ansible-core and the Python packages uvicorn, httptools, msgspec and, with
    O(oidc_issuer), PyJWT with cryptography, in the Python that runs ansible-rulebook.
options:
  host:
    description: Address to listen on; V(0.0.0.0) or V(::) for all.
    type: str
    default: 127.0.0.1
  port:
    description: Port to listen on.
    type: int
    required: true
  path:
    description: Path that events are sent to. Other paths are answered 404.
    type: str
    default: /
  certfile:
    description: Certificate chain in PEM to serve HTTPS with. It is read at the start.
    type: path
  keyfile:
    description: Key of O(certfile) in PEM; without it O(certfile) contains the key.
    type: path
  password:
    description: Password of O(keyfile).
    type: str
    no_log: true
  cafile:
    description: CA certificates in PEM; only clients with a certificate of one of them are served.
    type: path
  token:
    description:
      - Token that senders have to present as C(Authorization), as Bearer token or as the password
        of Basic authentication.
      - A Trigger sends the latter when its C(subscriber.uri) has user information.
    type: str
    no_log: true
  token_file:
    description:
      - File with such tokens, one a line, so that an old and a new one can be valid together.
      - It is read again when it changes.
    type: path
  oidc_issuer:
    description:
      - Issuer of tokens (JWT) that senders may present. With Knative's feature
        C(authentication-oidc) that is the cluster's service account issuer.
      - Its keys are found by OpenID Connect discovery, or at O(oidc_jwks_url).
    type: str
  oidc_audience:
    description: Audience that such a token has to be for; required with O(oidc_issuer).
    type: str
  oidc_subjects:
    description:
      - Patterns of the subjects that are allowed, for example
        V(system:serviceaccount:knative-eventing:*). Without them every subject is.
    type: list
    elements: str
    default: []
  oidc_jwks_url:
    description: URL of the issuer's keys.
    type: str
  oidc_token_file:
    description: Bearer token to get the keys with, where the issuer asks for one.
    type: path
  oidc_cafile:
    description: >-
      CA certificates in PEM for the issuer's HTTPS. Without it those of the environment variable
      E(K_CA_CERTS), which a SinkBinding sets, and of the system.
    type: path
  allow_anonymous:
    description: >-
      Serve other addresses than the loopback one without authentication. For a pod whose
      NetworkPolicy lets only Knative's data plane in.
    type: bool
    default: false
  types:
    description: >-
      Patterns of event types; V(*) matches anything. Events of other types are answered 202 and
      not handed over. Without patterns all are.
    type: list
    elements: str
    default: []
  sources:
    description: The same for the attribute C(source).
    type: list
    elements: str
    default: []
  jinja:
    description:
      - What becomes of Jinja expressions in an event.
      - V(neutralise) puts a space into C({{), C({%) and C({#), so that they are text for Ansible.
      - V(keep) leaves them. Ansible then evaluates them where a playbook uses the event, with all
        its lookups. Only for senders that may run anything on this machine.
    type: str
    choices: [neutralise, keep]
    default: neutralise
  max_body_bytes:
    description: Largest body of a request; larger ones are answered 413.
    type: int
    default: 1048576
  max_batch_events:
    description: Largest number of events in a batch; larger ones are answered 413.
    type: int
    default: 1000
  max_pending:
    description: >-
      Requests that may wait for the rulebook at a time. Further ones are answered 429 with
      Retry-After.
    type: int
    default: 100
  max_pending_bytes:
    description: Bytes of bodies that may be in memory at a time; beyond, the answer is 429.
    type: int
    default: 16777216
  max_connections:
    description: Connections at a time. The one that was idle for longest is closed for a new one.
    type: int
    default: 1000
  request_timeout_seconds:
    description: Time a request may take to arrive, and its answer to be read.
    type: float
    default: 15
  hand_over_timeout_seconds:
    description: >-
      Time a request waits for the rulebook to take its events. After that it is answered 503, and
      the sender is to send it again.
    type: float
    default: 30
  duplicate_window_seconds:
    description: Time in which an event of the same C(source) and C(id) is a duplicate; V(0) for none.
    type: float
    default: 600
  duplicate_window_events:
    description: Events that are remembered for it, about 100 bytes each.
    type: int
    default: 100000
  shutdown_seconds:
    description: Time that requests have to end in when the rulebook stops.
    type: float
    default: 5
  feedback:
    description:
      - Answer 202 only after the rule engine has taken the event and stored what it matches.
      - With it, and ansible-rulebook's persistence, no event that was answered 202 is lost when the
        process is killed. Without it, what is in memory then is lost, the events of actions that
        have not run among it.
      - Needs the options C(--id) and C(--persistence-id) and a database, for example a file, by the
        variable C(drools_db_file_path). The source needs a name.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Posts start playbooks
  hosts: all
  sources:
    - name: broker
      streamops.knative.cloudevents:
        host: 0.0.0.0
        port: 5000
        token_file: /etc/rulebook/tokens
        types: [com.x.post]
  rules:
    - name: Restart on request
      condition: event.type == "com.x.post" and event.data.text is search("please restart")
      action:
        run_playbook:
          name: restart.yml
"""

import asyncio
import contextlib
import ipaddress
import logging
import os
import re
import socket
import ssl
import sys
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

# ansible-rulebook runs this file by its path, ANSIBLE_COLLECTIONS/streamops/knative/extensions/eda/…:
# the collection's other code is found from there.
_FILE = Path(__file__).absolute()
sys.path += [
    folder
    for folder in (str(_FILE.parents[7]), str(_FILE.parents[4] / "apps" / "event-viewer"))
    if folder not in sys.path
]
try:
    import msgspec
    import uvicorn

    from ansible_collections.streamops.knative.plugins.module_utils._event_source import (
        OptionError,
        Unfit,
        for_rules,
        options,
    )
    from event_viewer.auth import Throttle, Token
    from event_viewer.cloudevents import Event, Invalid, parse
    from event_viewer.connections import Connection
    from event_viewer.http import (
        RETRY_AFTER,
        Answer,
        Body,
        Disconnected,
        Problem,
        Room,
        error_answer,
        header,
        json_answer,
    )
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"streamops.knative.cloudevents needs the Python package {missing.name}, installed for"
        f" {sys.executable}: pip install ansible-core uvicorn httptools msgspec"
    ) from missing

log = logging.getLogger("streamops.knative.cloudevents")

#: Bodies from this size on are parsed in a thread, so that the rules go on meanwhile.
LARGE_BODY = 64 << 10
ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)
#: What the JSON of an event contains that has a Jinja expression, an empty name or a long number; quick, and
#: true for some others.
_SUSPECT = re.compile(rb'\{[{%#]|\{"\s*[,}\]]|\\u007b|""|[0-9]{500}', re.IGNORECASE).search
#: Smaller events with fewer lists and objects are neither too deep nor have too long names.
_SMALL, _FEW = 10_000, 50
#: Seconds for the issuer's answer, between two looks for its keys, and of its clock's deviation.
ISSUER_TIMEOUT, ISSUER_PAUSE, LEEWAY = 10, 30, 30

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Queue(Protocol):
    """The queue of a rule set, as ansible-rulebook gives it to its sources."""

    async def put(self, data: Any) -> None:
        """Return once the rule set has room for an event."""


class DuplicateWindow:
    """Events that were taken, by the identity of `event_uuid`, for a time and up to a number."""

    def __init__(self, seconds: float, events: int) -> None:
        self._seconds = seconds
        self._events = events
        self._taken: OrderedDict[str, float] = OrderedDict()

    def __contains__(self, identity: str) -> bool:
        taken = self._taken.get(identity)
        return taken is not None and time.monotonic() - taken < self._seconds

    def add(self, identity: str) -> None:
        """Remember an event, and forget those that are too old or too many."""
        if not self._seconds:
            return
        now = time.monotonic()
        self._taken[identity] = now
        self._taken.move_to_end(identity)
        while self._taken and (
            len(self._taken) > self._events
            or now - next(iter(self._taken.values())) >= self._seconds
        ):
            self._taken.popitem(last=False)


def event_uuid(event: Event) -> str:
    """Return a UUID made of source and id, which identify an event (CloudEvents 1.0, 3.1.1)."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{event.source}\0{event.id}"))


def _needs_a_look(json: bytes) -> bool:
    nested = json.count(b"[") + json.count(b"{")
    return bool(nested > _FEW or len(json) > _SMALL or _SUSPECT(json))


def rule_event(event: Event, identity: str, *, keep_jinja: bool) -> dict[str, Any]:
    """Return an event as rules see it: its attributes, `data` or `data_base64`, and `meta`.

    `meta` is ansible-rulebook's; an extension of that name is `meta.extension`.

    Raises:
        Invalid: ansible-rulebook cannot hold it.
    """
    seen: dict[str, Any] = msgspec.json.decode(event.json)
    if _needs_a_look(event.json):
        try:
            seen = for_rules(seen, keep_jinja=keep_jinja)
        except Unfit as error:
            raise Invalid(f"ansible-rulebook cannot hold this event: {error}") from None
    extension = seen.get("meta")
    seen["meta"] = {"uuid": identity}
    if extension is not None:
        seen["meta"]["extension"] = extension
    return seen


@dataclass
class Counts:
    """Events since the start, and requests that were refused."""

    taken: int = 0
    duplicates: int = 0
    filtered: int = 0
    refused: int = 0


class HandOver:
    """Hands events over to the rulebook, each once, within a time."""

    def __init__(self, queue: Queue, settings: SimpleNamespace, feedback: Any) -> None:
        self.counts = Counts()
        self._queue = queue
        self._settings = settings
        self._feedback = feedback
        self._taken = DuplicateWindow(
            settings.duplicate_window_seconds, settings.duplicate_window_events
        )
        #: Events on their way, with what the engine's feedback resolves.
        self._pending: dict[str, asyncio.Future[None]] = {}
        self._timeouts: set[asyncio.Timeout] = set()
        self._closed = False

    async def __call__(self, events: list[Event]) -> None:
        """Return once all events were taken.

        Raises:
            Problem: 429 or 503, the sender is to repeat.
            Invalid: ansible-rulebook cannot hold one of them; none was taken.
        """
        if self._closed:
            raise Problem(503, "the rulebook is stopping", RETRY_AFTER)
        if len(self._timeouts) >= self._settings.max_pending:
            raise Problem(429, "the rulebook's queue is full; try again later", RETRY_AFTER)
        ready = [self._prepare(event) for event in events if self._is_wanted(event)]
        limit = self._settings.hand_over_timeout_seconds
        try:
            async with asyncio.timeout(limit) as timeout:
                self._timeouts.add(timeout)
                try:
                    for event in ready:
                        await self._put(event)
                finally:
                    self._timeouts.discard(timeout)
        except TimeoutError:
            reason = "is stopping" if self._closed else f"did not take it within {limit:g} s"
            raise Problem(503, f"the rulebook {reason}", RETRY_AFTER) from None

    def _is_wanted(self, event: Event) -> bool:
        settings = self._settings
        if _matches(event.type, settings.types) and _matches(event.source, settings.sources):
            return True
        self.counts.filtered += 1
        return False

    def _prepare(self, event: Event) -> dict[str, Any]:
        return rule_event(event, event_uuid(event), keep_jinja=self._settings.jinja == "keep")

    async def _put(self, event: dict[str, Any]) -> None:
        identity = event["meta"]["uuid"]
        if identity in self._taken:
            self.counts.duplicates += 1
            return
        if identity in self._pending:
            raise Problem(429, "the same event is being handed over", RETRY_AFTER)
        self._pending[identity] = done = asyncio.get_running_loop().create_future()
        try:
            await self._queue.put(event)
            if self._feedback is not None:
                await done
            else:
                self._note_taken(identity)
        finally:
            del self._pending[identity]

    async def read_feedback(self) -> None:
        """Note what the rule engine took, for as long as the rulebook runs."""
        while self._feedback is not None:
            event = await self._feedback.get()
            identity = event["meta"]["uuid"]
            self._note_taken(identity)
            done = self._pending.get(identity)
            if done is not None and not done.done():
                done.set_result(None)

    def _note_taken(self, identity: str) -> None:
        self.counts.taken += 1
        self._taken.add(identity)

    def close(self) -> None:
        """End what is waiting: nothing takes events any more."""
        self._closed = True
        for timeout in self._timeouts:
            timeout.reschedule(asyncio.get_running_loop().time())


def _matches(value: str, patterns: list[str]) -> bool:
    return not patterns or any(fnmatchcase(value, pattern) for pattern in patterns)


class Issuer:
    """Checks tokens of an OpenID Connect issuer for an audience."""

    def __init__(self, settings: SimpleNamespace) -> None:
        try:
            import jwt  # noqa: PLC0415 - needed with oidc_issuer only
            from jwt.algorithms import has_crypto  # noqa: PLC0415
        except ModuleNotFoundError:
            has_crypto = False
        if not has_crypto:
            raise OptionError(
                "oidc_issuer needs the Python package PyJWT with cryptography, installed for"
                f" {sys.executable}: pip install 'PyJWT[crypto]'"
            )
        self._jwt = jwt
        self._settings = settings
        self._context = _issuer_context(settings)
        self._keys: dict[str, Any] = {}
        self._looked = 0.0
        self._lock = asyncio.Lock()

    async def check(self, token: str) -> None:
        """Raise Problem 401 for a token that is not valid here, 403 for another subject."""
        settings = self._settings
        try:
            header_fields = self._jwt.get_unverified_header(token)
            key = await self._key(str(header_fields.get("kid", "")))
            claims = self._jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=settings.oidc_audience,
                issuer=settings.oidc_issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "aud", "iss", "sub"]},
            )
        except self._jwt.InvalidAudienceError:
            raise _unauthorized(
                f"the token is for another audience than {settings.oidc_audience}"
            ) from None
        except self._jwt.PyJWTError as error:
            raise _unauthorized(f"the token is not valid: {error}") from None
        if not _matches(str(claims["sub"]), settings.oidc_subjects):
            raise Problem(403, f"subject {str(claims['sub'])[:200]} is not in oidc_subjects")

    async def _key(self, name: str) -> Any:
        async with self._lock:
            now = time.monotonic()
            if name not in self._keys and (not self._looked or now - self._looked > ISSUER_PAUSE):
                try:
                    self._keys = await asyncio.to_thread(self._fetch)
                except (OSError, ValueError, LookupError) as error:
                    log.warning("oidc_issuer: its keys cannot be read: %s", error)
                    raise Problem(
                        503, "the token cannot be checked: the issuer does not answer", RETRY_AFTER
                    ) from None
                self._looked = now
        if name not in self._keys:
            raise self._jwt.InvalidKeyError("the issuer has no key of its kid")
        return self._keys[name]

    def _fetch(self) -> dict[str, Any]:
        url = self._settings.oidc_jwks_url
        if not url:
            issuer = self._settings.oidc_issuer.rstrip("/")
            url = self._get(f"{issuer}/.well-known/openid-configuration")["jwks_uri"]
        keys = self._jwt.PyJWKSet.from_dict(self._get(url)).keys
        return {str(key.key_id or ""): key for key in keys}

    def _get(self, url: str) -> Any:
        from urllib.request import Request, urlopen  # noqa: PLC0415

        request = Request(url)  # noqa: S310 - the scheme was checked
        if self._settings.oidc_token_file:
            token = Path(self._settings.oidc_token_file).read_text(encoding="utf-8").strip()
            request.add_header("Authorization", f"Bearer {token}")
        with urlopen(request, timeout=ISSUER_TIMEOUT, context=self._context) as answer:  # noqa: S310
            return msgspec.json.decode(answer.read(1 << 20))


def _issuer_context(settings: SimpleNamespace) -> ssl.SSLContext:
    context = ssl.create_default_context()
    pem = os.environ.get("K_CA_CERTS", "")
    try:
        if settings.oidc_cafile:
            context.load_verify_locations(cafile=settings.oidc_cafile)
        elif pem.strip():
            context.load_verify_locations(cadata=pem)
    except (OSError, ssl.SSLError) as error:
        name = f"oidc_cafile {settings.oidc_cafile}" if settings.oidc_cafile else "K_CA_CERTS"
        raise OptionError(f"{name} cannot be used as CA certificates in PEM: {error}") from None
    return context


def _unauthorized(reason: str) -> Problem:
    return Problem(401, reason, ((b"www-authenticate", b"Bearer"),))


class Auth:
    """Decides whose requests are served."""

    def __init__(self, settings: SimpleNamespace) -> None:
        path = Path(settings.token_file) if settings.token_file else None
        self._token = Token(settings.token or "", path)
        self._issuer = Issuer(settings) if settings.oidc_issuer else None
        self._throttle = Throttle()

    async def check(self, scope: Scope) -> None:
        """Raise Problem 401, 403 or 429 unless the request has valid credentials."""
        if not self._token and self._issuer is None:
            return
        secret = _credentials(header(scope["headers"], b"authorization"))
        if not secret:
            raise _unauthorized("this needs a token: Authorization: Bearer …")
        if self._token.matches(secret):
            return
        client = self._throttle.client(str((scope.get("client") or ("",))[0]))
        if client.tries < 1:
            raise Problem(429, "too many wrong tokens from this address", ((b"retry-after", b"5"),))
        try:
            if self._issuer is None:
                raise _unauthorized("the token is not valid")
            await self._issuer.check(secret.decode("latin-1"))
        except Problem as problem:
            client.tries -= problem.status in (401, 403)
            raise


def _credentials(value: bytes) -> bytes:
    """Return the Bearer token, or the password of Basic authentication."""
    scheme, secret = [*value.split(b" ", 1), b""][:2]
    if scheme.lower() == b"bearer":
        return secret.strip()
    if scheme.lower() == b"basic":
        from base64 import b64decode  # noqa: PLC0415

        with contextlib.suppress(ValueError):
            return b64decode(secret.strip(), validate=True).partition(b":")[2]
    return b""


class Receiver:
    """The ASGI application: events at one path, and probes.

    `settings` and `end_streams` are what the viewer's Connection asks of its application.
    """

    def __init__(self, settings: SimpleNamespace, hand_over: HandOver) -> None:
        self.settings = settings
        self.hand_over = hand_over
        self._auth = Auth(settings)
        self._room = Room(settings.max_pending_bytes)

    def end_streams(self) -> None:
        """Nothing is streamed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        body = Body(self._room, self.settings.max_body_bytes)
        try:
            answer = await self._answer(scope, receive, body)
        except Problem as problem:
            if problem.status not in (404, 405):
                self.hand_over.counts.refused += 1
                log.info("%d: %s", problem.status, problem.reason)
            answer = error_answer(problem.status, problem.reason, problem.headers)
        except Invalid as error:
            self.hand_over.counts.refused += 1
            log.warning("%d: %s", error.status, error.reason)
            answer = error_answer(error.status, error.reason)
        except asyncio.CancelledError:  # ansible-rulebook was told to stop
            answer = error_answer(503, "the rulebook is stopping", RETRY_AFTER)
        except Disconnected:
            return
        finally:
            body.release()
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, body: Body) -> Answer:
        method, path = scope["method"], scope["path"]
        if path in ("/healthz", "/readyz") and method in ("GET", "HEAD"):
            return json_answer(vars(self.hand_over.counts))
        if path != self.settings.path:
            raise Problem(404, f"events are taken at {self.settings.path}")
        if method != "POST":
            raise Problem(405, "events are sent by POST", ((b"allow", b"POST"),))
        await self._auth.check(scope)
        content = await body.read(receive)
        await self.hand_over(await self._parse(scope, content))
        return Answer(202)

    async def _parse(self, scope: Scope, content: bytes) -> list[Event]:
        arguments = (scope["headers"], content, self.settings.max_batch_events)
        if len(content) < LARGE_BODY:
            return parse(*arguments)
        return await asyncio.to_thread(parse, *arguments)


class Server(uvicorn.Server):
    """uvicorn in an event loop whose signals ansible-rulebook handles."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to ansible-rulebook."""
        yield


def check(arguments: dict[str, Any]) -> SimpleNamespace:
    """Return the options of a rulebook.

    Raises:
        OptionError: Names what is wrong and what to do.
    """
    settings = SimpleNamespace(**options(DOCUMENTATION, arguments))
    problems = [
        f"{name} is {getattr(settings, name)}: it has to be more than 0"
        for name in (
            "max_body_bytes", "max_batch_events", "max_pending", "max_pending_bytes", "max_connections",
            "request_timeout_seconds", "hand_over_timeout_seconds", "duplicate_window_events",
        )
        if getattr(settings, name) <= 0
    ]  # fmt: skip
    if not 0 < settings.port < 65536:
        problems.append(f"port is {settings.port}: choose one from 1 to 65535")
    if not settings.path.startswith("/"):
        problems.append(f"path is {settings.path}: it has to begin with /")
    if settings.max_body_bytes > settings.max_pending_bytes:
        problems.append("max_body_bytes has to be at most max_pending_bytes")
    if settings.token and settings.token_file:
        problems.append("token and token_file exclude each other")
    if settings.token_file and not Path(settings.token_file).is_file():
        problems.append(f"token_file: there is no file {settings.token_file}")
    if (settings.keyfile or settings.cafile or settings.password) and not settings.certfile:
        problems.append("keyfile, cafile and password need certfile")
    if bool(settings.oidc_issuer) != bool(settings.oidc_audience):
        problems.append("oidc_issuer and oidc_audience go together: set both or neither")
    problems += [
        f"{name} has to be an http(s) URL"
        for name in ("oidc_issuer", "oidc_jwks_url")
        if (value := getattr(settings, name)) and not value.startswith(("https://", "http://"))
    ]
    if not (_is_protected(settings) or settings.allow_anonymous or _is_loopback(settings.host)):
        problems.append(
            f"host {settings.host} can be reached by others, and no sender would have to"
            " authenticate: set token_file, oidc_issuer or cafile, or listen on 127.0.0.1; where a"
            " NetworkPolicy or firewall decides who reaches it, set allow_anonymous"
        )
    if problems:
        raise OptionError("; ".join(problems))
    return settings


def _is_protected(settings: SimpleNamespace) -> bool:
    return bool(settings.token or settings.token_file or settings.oidc_issuer or settings.cafile)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(settings: SimpleNamespace) -> socket.socket:
    """Return the listening socket; raises OptionError naming host and port."""
    try:
        addresses = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, address = addresses[0][0], addresses[0][4]
        return socket.create_server(address[:2], family=family, backlog=1024)
    except OSError as error:
        # What create_server says repeats the address.
        reason = (error.strerror or str(error)).partition(" (while ")[0]
        raise OptionError(
            f"cannot listen on host {settings.host}, port {settings.port}: {reason};"
            " choose another port, or stop what uses it"
        ) from None


def tls(settings: SimpleNamespace) -> ssl.SSLContext | None:
    """Return the TLS context of the server; raises OptionError naming the files."""
    if not settings.certfile:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.certfile, settings.keyfile, settings.password)
        if settings.cafile:
            context.load_verify_locations(settings.cafile)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(filter(None, (settings.certfile, settings.keyfile, settings.cafile)))
        raise OptionError(f"TLS cannot be served with {files}: {error}") from None
    return context


async def main(queue: Queue, args: dict[str, Any]) -> None:
    """Serve until ansible-rulebook stops this source."""
    arguments = dict(args)
    feedback = arguments.pop("eda_feedback_queue", None)
    settings = check(arguments)
    hand_over = HandOver(queue, settings, feedback)
    receiver = Receiver(settings, hand_over)
    context = tls(settings)
    config = uvicorn.Config(
        receiver,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, int(settings.shutdown_seconds)),
    )
    config.load()
    config.ssl = context
    server = Server(config)
    listener = listen(settings)
    reader = asyncio.create_task(hand_over.read_feedback())
    log.info("listening on %s, port %d", settings.host, settings.port)
    try:
        await server.serve(sockets=[listener])
    finally:
        hand_over.close()
        if server.started:
            await server.shutdown(sockets=[listener])
        reader.cancel()
        log.info("stopped: %s", vars(hand_over.counts))
