"""X's API through tweepy, with what tweepy leaves out: deadlines, typed errors, another host."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import requests
import tweepy
import urllib3

from twitter_producer import json_text
from twitter_producer.clock import XClock
from twitter_producer.connections import Connections
from twitter_producer.credentials import Keys
from twitter_producer.deadline_adapter import DeadlineAdapter, trusted_authorities
from twitter_producer.errors import (
    BadRequest,
    CreditsDepleted,
    RateLimited,
    Refused,
    SourceError,
    Unavailable,
    of_status,
)
from twitter_producer.http_answers import number, printable
from twitter_producer.settings import usable_key

log = logging.getLogger(__name__)

#: Where tweepy sends everything; OAuth 1.0a signatures cover this address.
TWEEPY_URL = "https://api.twitter.com"
#: A document that X serves to anybody, for the `Date` of the answer: nothing is billed for it.
_FREE_PATH = "/2/openapi.json"
#: A page has 100 posts of up to 25,000 characters, some of which take 12 bytes in JSON.
_LONGEST_ANSWER = 64 << 20
#: The newest specification has other names for parameter and field than prose and deployments.
_SPELLINGS = {
    "post.fields": {"note_tweet": "note_post"},
    "tweet.fields": {"note_post": "note_tweet"},
}


class SinceIdTooOld(BadRequest):
    """400: X does not search from this id on, mostly as it is older than X's memory of 7 days.

    `smallest` is the lowest id taken, if X says so.
    """

    def __init__(self, message: str, smallest: int | None) -> None:
        super().__init__(message)
        self.smallest = smallest


@dataclass(frozen=True)
class Page:
    """One page of a search, newest first."""

    posts: list[Any]
    next_token: str | None


@dataclass
class RateLimit:
    """What X said last about the requests left in the current window."""

    remaining: int | None = None
    reset: int | None = None


class RedirectAdapter(DeadlineAdapter):
    """Sends to another address what is addressed to tweepy's."""

    def __init__(self, base_url: str, timeout: float, connections: Connections) -> None:
        super().__init__(connections, timeout)
        self._base_url = base_url.rstrip("/")

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        """Send the request; the signature it carries stays that for tweepy's address."""
        request.url = self._base_url + str(request.url).removeprefix(TWEEPY_URL)
        return super().send(request, *args, **kwargs)


@dataclass
class XApi:
    """Requests to X with the keys of the moment."""

    url: str
    timeout: float
    clock: XClock
    fields: tuple[str, ...] = ()
    authors: bool = False
    rate_limit: RateLimit = field(default_factory=RateLimit)
    _client: tweepy.Client | None = None
    _user_auth: bool = False
    _fields_parameter: str = "post.fields"

    def __post_init__(self) -> None:
        trust = trusted_authorities() if self.url.startswith("https:") else None
        self._connections = Connections(self.url, self.timeout, trust, longest=_LONGEST_ANSWER)

    def ask_time(self) -> None:
        """Set the clock by the date of an answer that is not billed; raise Unavailable without one."""
        try:
            with requests.Session() as session:
                self.mount(session)
                response = session.head(TWEEPY_URL + _FREE_PATH)
        except requests.RequestException as error:
            raise Unavailable(f"no answer from X: {error}") from error
        self.clock.follow(response.headers.get("Date"))
        if not self.clock.known:
            self.clock.trust_this_machine()

    def abort(self) -> None:
        """End the requests under way, but for a stream."""
        self._connections.abort()

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
        adapter = RedirectAdapter(self.url, self.timeout, self._connections)
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
            **{self._fields_parameter: self.field_names(self._fields_parameter)},
            **self.expansions,
            **parameters,
        )
        posts, meta = body.get("data") or [], body.get("meta") or {}
        token = meta.get("next_token") if isinstance(meta, dict) else 0
        if not isinstance(posts, list) or not isinstance(token, str | None):
            raise Unavailable("X answered with something that is not a search result")
        if body.get("errors"):
            shown = printable(str(body["errors"]))
            log.warning("X reports problems in its answer", extra={"problems": shown})
        if self.authors:
            posts = [with_author(post, body.get("includes")) for post in posts]
        return Page(posts, token or None)

    def field_names(self, parameter: str) -> list[str]:
        """Return the fields to ask for as this parameter spells them."""
        spelling = _SPELLINGS[parameter]
        return [spelling.get(name, name) for name in self.fields]

    @property
    def expansions(self) -> dict[str, str]:
        """The parameters that ask for the authors, where these are wanted; posts then name theirs."""
        if not self.authors:
            return {}
        return {"expansions": "author_id", "user.fields": "name,username"}

    def request(self, method: Any, *args: Any) -> dict[str, Any]:
        """Return the JSON that a method of tweepy's brings; raises SourceError."""
        return self._answer(lambda: method(*args))

    def _call(self, method: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            return self._answer(lambda: method(*args, **kwargs))
        except BadRequest as error:
            if "post.fields" not in str(error) or "post.fields" not in kwargs:
                raise
            # The newest specification says post.fields; deployments may still say tweet.fields.
            self._fields_parameter = "tweet.fields"
            del kwargs["post.fields"]
            kwargs["tweet.fields"] = self.field_names("tweet.fields")
            return self._answer(lambda: method(*args, **kwargs))

    def _answer(self, request: Any) -> dict[str, Any]:
        try:
            response = request()
        except tweepy.HTTPException as error:
            self._note(error.response)
            raise _translated(error.response) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise Unavailable(f"no answer from X: {error}") from error
        except (AttributeError, TypeError, ValueError, RecursionError) as error:
            # tweepy itself fails on error answers that are JSON but not an object.
            raise Unavailable(f"X answered with something unexpected: {error}") from error
        self._note(response)
        try:
            body = json_text.decode(response.content)
        except ValueError as error:
            raise Unavailable("X answered with something that is not JSON") from error
        if not isinstance(body, dict):
            raise Unavailable("X answered with JSON that is not an object")
        return body

    def _exchange(self, keys: Keys) -> str:
        """Return an app-only bearer for the app's key and secret (POST /oauth2/token)."""
        with requests.Session() as session:
            self.mount(session)
            try:
                response = session.post(
                    TWEEPY_URL + "/oauth2/token",
                    auth=(keys.api_key or "", keys.api_secret or ""),
                    data={"grant_type": "client_credentials"},
                )
            except requests.RequestException as error:
                raise Unavailable(f"no answer from X: {error}") from error
            if response.status_code == 403:  # what X answers here to wrong keys
                raise Refused(f"403: {_detail(response.content)}")
            if response.status_code != 200:
                raise _translated(response)
            try:
                bearer = json_text.decode(response.content)["access_token"]
            except (ValueError, KeyError, TypeError) as error:
                raise Unavailable("X answered without a bearer") from error
            if not isinstance(bearer, str) or not usable_key(bearer):
                raise Unavailable("X answered with a malformed bearer")
            return bearer

    def _note(self, response: requests.Response) -> None:
        self.clock.follow(response.headers.get("Date"))
        self.rate_limit.remaining = number(response.headers.get("x-rate-limit-remaining"))
        self.rate_limit.reset = number(response.headers.get("x-rate-limit-reset"))


def with_author(post: Any, includes: Any) -> Any:
    """Return a post with its author, address and network under the names that all networks share."""
    if not isinstance(post, dict):
        return post
    users = includes.get("users") if isinstance(includes, dict) else None
    author_id = post.get("author_id")
    named = (u for u in users if isinstance(u, dict)) if isinstance(users, list) else ()
    user = next((u for u in named if author_id and u.get("id") == author_id), {})
    handle = user.get("username")
    author = {
        "id": author_id,
        "name": user.get("name"),
        "handle": handle,
        "url": f"https://x.com/{handle}" if handle else None,
    }
    url = f"https://x.com/{handle or 'i'}/status/{post.get('id')}"
    return {**post, "network": "x", "url": url, "author": author}


def translate(status: int, reason: str, headers: Mapping[str, str], body: bytes) -> SourceError:
    """Return the error that an answer with an error status stands for."""
    detail = _detail(body) or printable(reason or "") or "no explanation"
    message = f"{status}: {detail}"
    error: SourceError
    if status == 400 and "since_id" in detail:
        smallest = re.search(r"larger than[^0-9]{0,3}([0-9]{1,19})", detail)
        error = SinceIdTooOld(message, int(smallest[1]) if smallest else None)
    elif status == 429 and b"TooManyConnections" in body:
        # X has not noticed yet that the stream before has ended: that takes no 15 minutes.
        error = Unavailable(message)
    elif status == 429:
        error = RateLimited(message, number(headers.get("x-rate-limit-reset")))
    else:
        error = of_status(status, message, {402: CreditsDepleted})
    error.unbilled = 400 <= status < 500  # after a 5xx of a gateway X itself may have answered
    return error


def _translated(response: requests.Response) -> SourceError:
    return translate(response.status_code, response.reason, response.headers, response.content)


def _detail(body: bytes) -> str:
    """Return what an RFC 7807 problem, or X's older form of errors, says."""
    try:
        problem = json_text.decode(body)
        parts = [problem.get("detail") or problem.get("title") or ""]
        parts += [e.get("message") or e.get("detail") or "" for e in problem.get("errors") or []]
        return printable(" ".join(dict.fromkeys(str(part) for part in parts if part)))
    except (ValueError, AttributeError, TypeError):
        return ""


def start_parameter(moment: datetime) -> str:
    """Return a time as X wants it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
