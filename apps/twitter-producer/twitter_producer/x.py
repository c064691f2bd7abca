"""X's API through tweepy, with what tweepy leaves out: timeouts, typed errors, another host."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import requests
import tweepy
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from twitter_producer.clock import XClock
from twitter_producer.credentials import Keys

log = logging.getLogger(__name__)

#: Where tweepy sends everything; OAuth 1.0a signatures cover this address.
TWEEPY_URL = "https://api.twitter.com"
#: Reading authors or media through `expansions` is billed as well: not asked for.
FIELDS = ("created_at", "lang")


class XError(Exception):
    """X did not give what was asked for."""


class XUnavailable(XError):
    """No answer, a broken one, or a 5xx: try again."""


class RateLimited(XError):
    """429; `reset` is when the next request is allowed (Unix time), if X says so."""

    def __init__(self, message: str, reset: int | None) -> None:
        super().__init__(message)
        self.reset = reset


class CreditsDepleted(XError):
    """402: the account has no credits left."""


class Refused(XError):
    """401: these credentials are not valid (any more)."""


class Forbidden(XError):
    """403: the credentials are valid but may not do this."""


class BadRequest(XError):
    """400: X does not take the request as it is."""


class SinceIdTooOld(BadRequest):
    """400: X does not search from this id on, mostly as it is older than X's memory of 7 days.

    `smallest` is the lowest id taken, if X says so.
    """

    def __init__(self, message: str, smallest: int | None) -> None:
        super().__init__(message)
        self.smallest = smallest


@dataclass(frozen=True)
class Page:
    """One page of a search, newest first as X returned it."""

    posts: list[dict[str, Any]]
    next_token: str | None


@dataclass
class RateLimit:
    """What X said last about the requests left in the current window."""

    remaining: int | None = None
    reset: int | None = None


class RedirectAdapter(HTTPAdapter):
    """Sends to another address what is addressed to tweepy's, and sets a timeout."""

    def __init__(self, base_url: str, timeout: float) -> None:
        super().__init__()
        self._base_url, self._timeout = base_url.rstrip("/"), timeout
        self._last: requests.Response | None = None

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        """Send the request; the signature it carries stays that for tweepy's address."""
        if self._base_url != TWEEPY_URL:
            request.url = self._base_url + str(request.url).removeprefix(TWEEPY_URL)
            kwargs["proxies"] = get_environ_proxies(request.url)
        kwargs["timeout"] = kwargs.get("timeout") or self._timeout
        self._last = super().send(request, *args, **kwargs)
        return self._last

    def hang_up(self) -> None:
        """Wake whoever reads the last answer, from another thread: the connection ends."""
        with contextlib.suppress(ValueError, RuntimeError):  # it has ended by itself
            if self._last is not None:
                self._last.raw.shutdown()


@dataclass
class XApi:
    """Requests to X with the keys of the moment."""

    url: str
    timeout: float
    clock: XClock
    rate_limit: RateLimit = field(default_factory=RateLimit)
    _client: tweepy.Client | None = None
    _user_auth: bool = False
    _fields_parameter: str = "post.fields"

    def use(self, keys: Keys) -> None:
        """Make every further request with these keys."""
        bearer = keys.bearer_token or (None if keys.user else self._exchange(keys))
        self._user_auth = not bearer
        self._client = tweepy.Client(
            bearer,
            keys.api_key,
            keys.api_secret,
            keys.access_key,
            keys.access_secret,
            return_type=requests.Response,
        )
        self.mount(self._client.session)

    def mount(self, session: requests.Session) -> RedirectAdapter:
        """Have a tweepy session talk to the configured address with the configured timeout."""
        adapter = RedirectAdapter(self.url, self.timeout)
        session.mount(TWEEPY_URL + "/", adapter)
        return adapter

    def bearer(self, keys: Keys) -> str:
        """Return an app-only bearer; the filtered stream takes nothing else."""
        return keys.bearer_token or self._exchange(keys)

    def search(self, query: str, max_results: int, parameters: Mapping[str, Any]) -> Page:
        """Return one page of recent search; `parameters` as X names them."""
        if self._client is None:
            raise Refused("no credentials have been read yet")
        body = self._call(
            self._client.search_recent_tweets,
            query,
            user_auth=self._user_auth,
            max_results=max_results,
            **{self._fields_parameter: list(FIELDS)},
            **parameters,
        )
        posts, meta = body.get("data") or [], body.get("meta") or {}
        if not isinstance(posts, list) or not isinstance(meta, dict):
            raise XUnavailable("X answered with something that is no search result")
        for problem in body.get("errors") or []:
            log.warning("X reports a problem in its answer", extra={"problem": problem})
        return Page(posts, meta.get("next_token"))

    def request(self, method: Any, *args: Any) -> dict[str, Any]:
        """Return the JSON that a method of tweepy's brings; raises XError."""
        return self._answer(lambda: method(*args))

    def _call(self, method: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            return self._answer(lambda: method(*args, **kwargs))
        except BadRequest as error:
            if "post.fields" not in str(error) or "post.fields" not in kwargs:
                raise
            # The newest specification says post.fields; deployments may still say tweet.fields.
            self._fields_parameter = "tweet.fields"
            kwargs["tweet.fields"] = kwargs.pop("post.fields")
            return self._answer(lambda: method(*args, **kwargs))

    def _answer(self, request: Any) -> dict[str, Any]:
        try:
            response = request()
        except tweepy.HTTPException as error:
            self._note(error.response)
            raise translate(error.response) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise XUnavailable(f"no answer from X: {type(error).__name__}") from error
        except (AttributeError, TypeError, ValueError) as error:
            # tweepy itself trips over error answers that are JSON but no object.
            raise XUnavailable(f"X answered with something unexpected: {error}") from error
        self._note(response)
        try:
            body = response.json()
        except ValueError as error:
            raise XUnavailable("X answered with something that is no JSON") from error
        if not isinstance(body, dict):
            raise XUnavailable("X answered with JSON that is no object")
        return body

    def _exchange(self, keys: Keys) -> str:
        """Trade the app's key and secret for an app-only bearer (POST /oauth2/token)."""
        with requests.Session() as session:
            self.mount(session)
            try:
                response = session.post(
                    TWEEPY_URL + "/oauth2/token",
                    auth=(keys.api_key or "", keys.api_secret or ""),
                    data={"grant_type": "client_credentials"},
                    timeout=self.timeout,
                )
            except requests.RequestException as error:
                raise XUnavailable(f"no answer from X: {type(error).__name__}") from error
            if response.status_code == 403:  # what X answers here to wrong keys
                raise Refused(f"403: {_detail(response)}")
            if response.status_code != 200:
                raise translate(response)
            try:
                return str(response.json()["access_token"])
            except (ValueError, KeyError, TypeError) as error:
                raise XUnavailable("X answered without a bearer") from error

    def _note(self, response: requests.Response) -> None:
        self.clock.follow(response.headers.get("Date"))
        self.rate_limit.remaining = number(response.headers.get("x-rate-limit-remaining"))
        self.rate_limit.reset = number(response.headers.get("x-rate-limit-reset"))


def number(text: str | None) -> int | None:
    """Return the integer in a header; None if there is none."""
    return int(text) if text and text.isdecimal() else None


def translate(response: requests.Response) -> XError:
    """Return the error that an answer with an error status stands for."""
    status, detail = response.status_code, _detail(response)
    message = f"{status}: {detail}"
    if status == 400 and "since_id" in detail:
        smallest = re.search(r"larger than\D{0,3}(\d{1,19})", detail)
        return SinceIdTooOld(message, int(smallest[1]) if smallest else None)
    if status == 429:
        return RateLimited(message, number(response.headers.get("x-rate-limit-reset")))
    known = {400: BadRequest, 401: Refused, 402: CreditsDepleted, 403: Forbidden}
    return known.get(status, XUnavailable)(message)


def _detail(response: requests.Response) -> str:
    """Return what an RFC 7807 problem, or X's older form of errors, says."""
    try:
        body = response.json()
        parts = [body.get("detail") or body.get("title") or ""]
        parts += [str(e.get("message") or e.get("detail") or "") for e in body.get("errors") or []]
        return " ".join(dict.fromkeys(part for part in parts if part)) or response.reason
    except (ValueError, AttributeError, TypeError):
        return response.reason or "no explanation"


def start_parameter(moment: datetime) -> str:
    """Return a time as X wants it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
