"""One way to call Google's REST APIs: credentials, endpoints, retries, and long-running operations."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from .._http.client import USER_AGENT, Answer
from .._http.errors import Cause, NoAnswer, SettingError
from .._http.retries import LONGEST_ASKED_PAUSE, NOT_CARRIED_OUT, Retries, http_date, retry_after
from .._http.tls import CA_VARIABLES
from . import answers
from .auth import AuthOptions, Credentials, access_token, credentials, refresh
from .errors import (
    ApiError,
    ConfigError,
    GcpError,
    NotEnabledYet,
    NotFound,
    OperationFailed,
    OperationLost,
    OperationTimeout,
    ServiceDisabled,
    TokenUnavailable,
    Unauthenticated,
    UnexpectedAnswer,
    Unreachable,
    from_answer,
    is_rate,
    retry_delay,
)
from .http_client import LARGEST_ANSWER, Http

Json = dict[str, Any]
_Result = TypeVar("_Result")

#: The services used here, by the names gcloud gives their endpoint overrides.
SERVICES: Mapping[str, str] = {
    name: f"https://{name}.googleapis.com"
    for name in (
        "artifactregistry",
        "cloudresourcemanager",
        "container",
        "iam",
        "iamcredentials",
        "secretmanager",
        "serviceusage",
    )
}
#: With these a request may have been carried out.
AMBIGUOUS = (500, 502, 504)
TRANSIENT = (*NOT_CARRIED_OUT, *AMBIGUOUS)
FIRST_WAIT, LONGEST_WAIT = 0.5, 20.0
#: Seconds for which one request is sent again; quotas per minute need more than one of them.
RETRY_SECONDS = 300.0
#: Seconds by which clocks may differ without a word about it; signed assertions get 5 minutes.
CLOCK_TOLERANCE = 60.0
FIRST_POLL, LONGEST_POLL = 0.25, 10.0
_NETWORK = "Check the network, the proxy and the option endpoint."
_ADVICE = {
    Cause.CERTIFICATE: "Behind a proxy that opens TLS, name its CA in "
    + " or ".join(CA_VARIABLES)
    + ".",
    Cause.PROXY: "Check HTTPS_PROXY and NO_PROXY.",
}
#: More pages than any project has; a list that goes on is not one of Google's.
MAX_PAGES = 10_000


@dataclass(frozen=True)
class Settings:
    """The options of every Google module, besides who calls.

    `endpoint` replaces the address of every service, `endpoints` (by service) that of one;
    `timeout` is in seconds and holds for each request; `retries` is how often one is sent again;
    `propagation` is how many seconds an API may take that is enabled and cannot be used yet.
    """

    project: str | None = None
    endpoint: str | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 30.0
    retries: int = 5
    propagation: float = 300.0

    def base(self, service: str) -> str:
        """Return the address of a service, without a slash at its end."""
        return (self.endpoints.get(service) or self.endpoint or SERVICES[service]).rstrip("/")


class Session:
    """Calls Google's APIs as one caller; safe to use from several threads.

    `requests` counts what was sent, `writes_accepted` the writes that Google accepted and
    `writes_in_doubt` those that it may have accepted, repeated ones too; `sleep` waits between attempts
    (seconds). In `check_mode` an API that is not enabled has nothing in it: a run enables it first;
    `warnings` say so. `progress` takes a sentence while a long-running operation goes on.
    """

    def __init__(
        self,
        settings: Settings,
        auth: AuthOptions,
        *,
        check_mode: bool = False,
        progress: Callable[[str], None] = lambda _sentence: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        unknown = sorted(set(settings.endpoints) - set(SERVICES))
        if unknown:
            raise ConfigError(
                f"endpoints: {', '.join(unknown)} is none of {', '.join(sorted(SERVICES))}"
            )
        self._settings = settings
        self._auth = auth
        self._http = Http(settings.timeout)
        self._lock = threading.Lock()
        self._credentials: Credentials | None = None
        self._sleep = sleep
        self._retries = Retries(
            attempts=settings.retries,
            seconds=RETRY_SECONDS,
            pause=FIRST_WAIT,
            longest_pause=LONGEST_WAIT,
            sleep=sleep,
            transient=_is_transient,
            asked_pause=_asked_pause,
        )
        self._ahead = timedelta()
        self.caller = ""
        self.requests = self.writes_accepted = self.writes_in_doubt = 0
        self.warnings: dict[str, None] = {}  # in order, each once
        self.check_mode = check_mode
        #: Whether a step of the plan is to enable an API first, which is empty until then.
        self.enabling = False
        self.progress = progress

    @property
    def project(self) -> str:
        """The project's ID; ConfigError where no option and no environment variable names it."""
        if not self._settings.project:
            raise ConfigError("project is required (or the environment variable GCP_PROJECT)")
        return self._settings.project

    @property
    def project_id(self) -> str:
        """The project's ID where its number does not do: in names that are made of it."""
        if self.project.isdigit():
            raise ConfigError(f"project: the ID is needed here, not the number {self.project}")
        return self.project

    @property
    def workload_pool(self) -> str:
        """The pool of the identities of the project's clusters."""
        return f"{self.project_id}.svc.id.goog"

    def get(self, service: str, path: str, **query: Any) -> Json:
        """Send GET for the `path` (`v1/projects/…`) of a service. Raises GcpError, as all of these do.

        An answer that lacks what its contract promises (see `answers`) is an UnexpectedAnswer.
        """
        return self._call("GET", service, path, None, query)

    def find(self, service: str, path: str) -> Json | None:
        """Return what `get` does, None where there is nothing."""
        try:
            return self.get(service, path)
        except NotFound:
            return None

    def post(self, service: str, path: str, body: Json | None = None, **query: Any) -> Json:
        """Send POST, with a body or without."""
        return self._call("POST", service, path, body, query)

    def put(self, service: str, path: str, body: Json) -> Json:
        """Send PUT."""
        return self._call("PUT", service, path, body, {})

    def patch(self, service: str, path: str, body: Json, **query: Any) -> Json:
        """Send PATCH."""
        return self._call("PATCH", service, path, body, query)

    def delete(self, service: str, path: str, **query: Any) -> Json | None:
        """Send DELETE; return None for what was deleted concurrently."""
        try:
            return self._call("DELETE", service, path, None, query)
        except NotFound:
            return None

    def pages(
        self, service: str, path: str, key: str, *, partial: bool = False, **query: Any
    ) -> Iterator[Json]:
        """Yield the items under `key` of all pages of a list.

        A list that Google could not complete is an error; with `partial` it is a warning.
        """
        tokens = [""]
        while len(tokens) <= MAX_PAGES:
            given = {"pageToken": tokens[-1]} if tokens[-1] else {}
            try:
                page = self._call("GET", service, path, None, {**query, **given}, items=key)
            except NotEnabledYet:
                return
            lacking = [*page.get("missingZones", []), *page.get("unreachable", [])]
            if lacking:
                words = (
                    f"{key.capitalize()} of {', '.join(map(str, lacking))} are missing from the list:"
                    " Google could not reach these zones."
                )
                if not partial:
                    raise UnexpectedAnswer(f"GET {path}", f"incomplete. {words}")
                self.warnings[words] = None
            yield from page.get(key, [])
            token = page.get("nextPageToken", "")
            if not token:
                return
            if token in tokens:
                raise UnexpectedAnswer(f"GET {path}", f"the page {token!r} for a second time")
            tokens.append(token)
        raise UnexpectedAnswer(f"GET {path}", f"a list of more than {MAX_PAGES} pages")

    def token(self) -> str:
        """Return a valid access token."""
        with self._lock:
            if self._credentials is None:
                self._credentials, self.caller = credentials(self._auth, self._http)
            if not self._credentials.valid:
                self._refresh(self._credentials)
            named = getattr(self._credentials, "service_account_email", "")
            if not self.caller and "@" in named:  # the metadata server tells it with the token
                self.caller = named
            return self._credentials.token or ""

    def _refresh(self, current: Credentials) -> None:
        self.retry(lambda: refresh(current, self._http), lambda e: isinstance(e, TokenUnavailable))

    def now(self) -> datetime:
        """Return the time by Google's clock, as far as its answers told it."""
        return datetime.now(UTC) + self._ahead

    def access_token(self) -> tuple[str, datetime | None]:
        """Return an OAuth access token for something else than Google's APIs, and when it expires."""
        return self.retry(
            lambda: access_token(self._auth, self._http), lambda e: isinstance(e, TokenUnavailable)
        )

    def wait_lro(self, service: str, operation: Json, timeout: float) -> Json:
        """Wait for a google.longrunning.Operation; its response. `timeout` in seconds."""
        for waited in self.polls(timeout):
            if operation.get("done"):
                break
            if waited is None:
                raise OperationTimeout(_still("running", operation["name"], timeout))
            operation = self._operation(service, f"v1/{operation['name']}")
        if operation.get("error"):
            error = operation["error"]
            raise OperationFailed(f"{operation['name']} failed: {error.get('message', error)}")
        response: Json = operation.get("response", {})
        return response

    def _operation(self, service: str, path: str) -> Json:
        try:
            return self.get(service, path)
        except GcpError as error:
            raise OperationLost(path.rpartition("/")[2], error) from error

    def wait_container(self, parent: str, operation: Json, timeout: float) -> Json:
        """Wait for an operation of GKE in `parent` (`projects/P/locations/L`). `timeout` in seconds."""
        name = operation["name"]
        told = ""
        for waited in self.polls(timeout):
            if operation.get("status") == "DONE":
                break
            stage = f"{operation.get('status')}{_progress(operation)}"
            if waited is None:
                raise OperationTimeout(_still(stage, name, timeout))
            if stage != told:
                target = operation.get("targetLink", "").rpartition("/")[2]
                self.progress(f"{operation.get('operationType')} {target}: {stage}")
                told = stage
            operation = self._operation("container", f"v1/{parent}/operations/{name}")
        error = operation.get("error") or {}
        if error:
            what = operation.get("operationType", "operation")
            message = error.get("message") or operation.get("statusMessage") or error
            raise OperationFailed(f"{what} ({name}) failed: {message}")
        return operation

    def retry(
        self, attempt: Callable[[], _Result], is_transient: Callable[[GcpError], bool]
    ) -> _Result:
        """Return what `attempt` returns; repeat it, with pauses, after transient errors."""
        for number in range(self._settings.retries):
            try:
                return attempt()
            except GcpError as error:
                if not is_transient(error):
                    raise
                self._sleep(_backoff(number))
        return attempt()

    def polls(self, timeout: float) -> Iterator[float | None]:
        """Yield the seconds waited so far, each after a pause; None once `timeout` is over."""
        start = time.monotonic()
        pause = FIRST_POLL
        yield 0.0
        while True:
            left = start + timeout - time.monotonic()
            if left <= 0:
                yield None
                return
            self._sleep(min(pause, max(left, 0)))
            pause = min(pause * 1.5, LONGEST_POLL)
            yield time.monotonic() - start

    def _call(
        self,
        method: str,
        service: str,
        path: str,
        body: Json | None,
        query: Mapping[str, Any],
        items: str | None = None,
    ) -> Json:
        url = f"{self._settings.base(service)}/{quote(path, safe='/:@[]+,=')}"
        given = {k.replace("__", "."): v for k, v in query.items() if v is not None}
        if given:
            url += "?" + urlencode(given, doseq=True)
        payload = None if body is None else json.dumps(body).encode()
        for waited in self.polls(self._settings.propagation):
            try:
                return self._send(f"{method} {service} {path}", url, payload, items)
            except ServiceDisabled as error:
                if waited is None or not self._is_enabled(error):
                    raise
                self.progress(f"{service} is enabled and cannot be used yet")
        raise AssertionError("unreachable")

    def _error(self, answer: Answer, request: str) -> ApiError:
        body = _body(answer)
        error = from_answer(answer.status, body, request, self.caller)
        if (self.check_mode or self.enabling) and isinstance(error, ServiceDisabled):
            if not self.enabling:
                self.warnings[f"{error.message} Treated as empty in check mode."] = None
            return NotEnabledYet(answer.status, body, request, self.caller)
        if isinstance(error, Unauthenticated):
            error.args = (f"{error}{self._clock()}",)
        return error

    def _is_enabled(self, error: ServiceDisabled) -> bool:
        """Return whether the API that cannot be used is enabled; then it is a matter of minutes."""
        path = f"v1/{error.metadata.get('consumer')}/services/{error.metadata.get('service')}"
        try:
            return self.get("serviceusage", path).get("state") == "ENABLED"
        except ApiError:
            return False

    def _send(self, called: str, url: str, payload: bytes | None, items: str | None) -> Json:
        """Send, and send again what may be repeated; a token that is refused is renewed once."""
        method = called.partition(" ")[0]
        request = f"{method} {url.partition('?')[0]}"
        is_renewed = False

        reading = method == "GET" or called.endswith(":getIamPolicy")

        def attempt() -> Answer:
            nonlocal is_renewed
            token = self.token()
            answer = self._send_once(method, url, payload, token)
            if answer.status == 401 and not is_renewed:
                is_renewed = True
                if self._renew(token):
                    answer = self._send_once(method, url, payload, self.token())
            if answer.status < 400:
                answers.check(called, request, answer, items)
            return answer

        def attempt_to_write() -> Answer:
            try:
                answer = attempt()
            except (NoAnswer, UnexpectedAnswer) as error:
                self._note_doubt(error.sent)
                raise
            self._note_doubt(answer.status in AMBIGUOUS)
            return answer

        repeatable = reading or method in ("PUT", "DELETE")
        try:
            sent = attempt if reading else attempt_to_write
            answer = self._retries.send(sent, repeatable=repeatable)
        except NoAnswer as error:
            advice = _ADVICE.get(error.cause, _NETWORK)
            raise Unreachable(f"{error}. {advice}", sent=error.sent) from error
        except SettingError as error:
            raise ConfigError(str(error)) from error
        if answer.status >= 400:
            raise self._error(answer, request)
        with self._lock:
            self.writes_accepted += not reading
        body: Json = answer.json
        return body

    def _note_doubt(self, in_doubt: bool) -> None:
        with self._lock:
            self.writes_in_doubt += in_doubt

    def _send_once(self, method: str, url: str, payload: bytes | None, token: str) -> Answer:
        headers = {
            "Authorization": f"Bearer {token}",
            "User-Agent": USER_AGENT,
            "Accept": "application/json",
        }
        if payload is not None:
            headers["Content-Type"] = "application/json"
        with self._lock:
            self.requests += 1
        answer = self._http.request(
            method, url, headers=headers, body=payload, limit=LARGEST_ANSWER
        )
        moment = http_date(answer.headers.get("Date", ""))
        if moment:
            self._ahead = moment - datetime.now(UTC)
        return answer

    def _renew(self, refused: str) -> bool:
        """Get another token than the one that was refused, where there is something to get it with."""
        with self._lock:
            current = self._credentials
            if current and current.token == refused:
                self._refresh(current)
            return bool(current and current.token != refused)

    def _clock(self) -> str:
        """Return a hint at a wrong clock, which makes assertions too old or too new; "" where it is right."""
        seconds = self._ahead.total_seconds()
        if abs(seconds) < CLOCK_TOLERANCE:
            return ""
        return (
            f" The clock of this machine is {abs(seconds):.0f} s"
            f" {'behind' if seconds > 0 else 'ahead of'} Google's: set it."
        )


def _body(answer: Answer) -> Any:
    """Return the JSON of an error; text where it is not JSON."""
    try:
        return answer.json
    except NoAnswer:
        return answer.data.decode(errors="replace")


def _is_transient(answer: Answer, repeatable: bool) -> bool:
    """Return whether the same request may do better later. A quota that is used up stays so; a rate passes."""
    if answer.status == 429:
        error = from_answer(answer.status, _body(answer), "")
        return is_rate(error) or not error.detail("QuotaFailure")
    return answer.status in (TRANSIENT if repeatable else NOT_CARRIED_OUT)


def _backoff(attempt: int) -> float:
    """Return the seconds before the next attempt: doubling, with jitter."""
    return min(FIRST_WAIT * 2.0**attempt, LONGEST_WAIT) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def _asked_pause(answer: Answer) -> float:
    """Return the seconds that Google asks to wait, by a header or by the error's details; 0 for none."""
    return retry_after(answer) or min(
        retry_delay(from_answer(answer.status, _body(answer), "")), LONGEST_ASKED_PAUSE
    )


def _progress(operation: Json) -> str:
    metrics = operation.get("progress", {}).get("metrics", [])
    shown = [f"{m.get('name')} {m.get('intValue', m.get('doubleValue', ''))}" for m in metrics]
    return f" ({', '.join(shown)})" if shown else ""


def _still(stage: str, name: str, timeout: float) -> str:
    return (
        f"The operation {name} is still {stage} after {timeout:g} s (option wait_timeout). It goes on"
        " at Google's: run this again to wait for it."
    )
