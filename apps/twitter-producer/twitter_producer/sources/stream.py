"""The filtered stream, with recent search for what was missed while not connected.

Search knows a post only some seconds after the stream. So after connecting there are two looks
back: at once, and when OVERLAP_SECONDS have passed; only then does the checkpoint move again.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import requests
import tweepy

from twitter_producer.budget import BudgetSpent
from twitter_producer.metrics import Metrics
from twitter_producer.progress import Batch, Post, Progress
from twitter_producer.settings import Settings
from twitter_producer.sources import Reserve, parsing
from twitter_producer.sources.search import SearchSource
from twitter_producer.stopping import Stop
from twitter_producer.x import (
    BadRequest,
    CreditsDepleted,
    Forbidden,
    RateLimited,
    Refused,
    XApi,
    XUnavailable,
)

log = logging.getLogger(__name__)

_QUEUE = 1000
_CHUNK = 100
_GATHER_SECONDS = 1.0
#: X bills what it has sent until it sees the connection close: kept back from the budget.
_IN_FLIGHT = 10
_ERRORS = {400: BadRequest, 401: Refused, 402: CreditsDepleted, 403: Forbidden}


class StreamSource:
    """Holds the stream open and hands on what arrives."""

    def __init__(
        self,
        settings: Settings,
        api: XApi,
        metrics: Metrics,
        reserve: Reserve,
        count: Callable[[list[Post]], None],
        stop: Stop,
        bearer: Callable[[], str],
    ) -> None:
        self._settings, self._api, self._metrics = settings, api, metrics
        self._reserve, self._count, self._bearer = reserve, count, bearer
        self._search = SearchSource(settings, api, metrics, reserve, count, stop)
        self._connection: _Connection | None = None
        self._catch_up = True
        self._settled_at = 0.0

    def read(self, progress: Progress) -> Batch:
        """Return what the stream brought in the last second, or what search finds of the past."""
        try:
            return self._read(progress)
        except BudgetSpent:
            self.close()
            raise

    def _read(self, progress: Progress) -> Batch:
        connection = self._connected()
        if self._catch_up or progress.behind:
            batch = self._search.read(progress)
            self._catch_up = batch.left is not None or progress.behind
            return batch
        settling = self._settled_at > 0
        if settling and time.monotonic() >= self._settled_at:
            self._settled_at = 0.0
            self._catch_up = True
        return self._drain(connection, progress, settling)

    def pause(self) -> float:
        """Return 0: `read` itself waits."""
        return 0.0

    def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            self._connection.hang_up()
            self._connection = None

    def _connected(self) -> _Connection:
        if self._connection is not None and self._connection.ended.is_set():
            if not self._connection.arrived.empty():
                return self._connection
            problem, self._connection = self._connection.problem, None
            log.warning("the stream has ended", extra={"problem": str(problem)})
            if problem is not None:
                raise problem
        if self._connection is None:
            self._connection = self._connect()
            self._catch_up = True
            self._settled_at = time.monotonic() + max(self._settings.overlap_seconds, 1.0)
        return self._connection

    def _connect(self) -> _Connection:
        allowance = self._reserve(_CHUNK, least=_IN_FLIGHT + 1) - _IN_FLIGHT
        connection = _Connection(
            self._bearer(), self._api, allowance if self._settings.budget_posts else None
        )
        self._set_rule(connection)
        self._metrics.polls.inc()
        connection.filter(threaded=True, tweet_fields=["created_at", "lang"])
        if not connection.opened.wait(self._settings.x_timeout_seconds + 21):
            connection.hang_up()
            raise XUnavailable("the stream did not open in time")
        if connection.problem is not None:
            raise connection.problem
        log.info("the stream is open")
        return connection

    def _set_rule(self, connection: _Connection) -> None:
        """Make this pipeline's rule the one its query asks for; other rules are left alone."""
        tag = f"twitter-producer/{self._settings.pipeline}"
        rules = self._api.request(connection.get_rules).get("data") or []
        ours = [rule for rule in rules if rule.get("tag") == tag]
        if len(rules) > len(ours):
            log.warning("the app has rules of others: what they match is billed and left out here")
        stale = [rule["id"] for rule in ours if rule.get("value") != self._settings.query]
        if stale:
            self._api.request(connection.delete_rules, stale)
        if len(ours) == len(stale):
            rule = tweepy.StreamRule(self._settings.query, tag)
            answer = self._api.request(connection.add_rules, rule)
            if not answer.get("data"):
                raise BadRequest(f"X does not take the rule: {answer.get('errors')}")
        connection.tag = tag

    def _drain(self, connection: _Connection, progress: Progress, settling: bool) -> Batch:
        entries: list[dict[str, Any]] = []
        until = time.monotonic() + _GATHER_SECONDS
        while len(entries) < _CHUNK and not connection.ended.is_set():
            try:
                entries.append(connection.arrived.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
        while len(entries) < _CHUNK and not connection.arrived.empty():
            entries.append(connection.arrived.get_nowait())
        found = parsing.posts(entries, self._metrics)
        self._count(found)
        if connection.allowance is not None and entries:
            connection.allow(len(entries), self._reserve)
        unique = {post.id: post for post in found}
        fresh = [unique[i] for i in sorted(unique) if i not in progress.seen]
        newest = None if settling else max(unique, default=None)
        return Batch(fresh, progress.next_window, newest=newest, ended=not settling)


class _Connection(tweepy.StreamingClient):
    """One connection: tweepy's own endless retries are left to the producer's loop."""

    def __init__(self, bearer: str, api: XApi, allowance: int | None) -> None:
        super().__init__(bearer, return_type=requests.Response, max_retries=0, daemon=True)
        self._adapter = api.mount(self.session)
        self.arrived: queue.Queue[dict[str, Any]] = queue.Queue(_QUEUE)
        self.opened, self.ended = threading.Event(), threading.Event()
        self.problem: Exception | None = None
        self.tag = ""
        self.allowance = allowance

    def hang_up(self) -> None:
        """Disconnect at once: what X still sends is billed."""
        self.disconnect()
        self._adapter.hang_up()

    def allow(self, counted: int, reserve: Reserve) -> None:
        """Let X send as many posts more as were counted, unless the budget is spent."""
        assert self.allowance is not None
        try:
            granted = reserve(_CHUNK, least=_IN_FLIGHT + 1) - _IN_FLIGHT
        except BudgetSpent as spent:
            self._end(spent)
            return
        self.allowance = min(self.allowance + counted, granted)

    def on_connect(self) -> None:
        self.opened.set()

    def on_data(self, raw_data: bytes) -> None:
        try:
            message = json.loads(raw_data)
        except ValueError:
            self._end(XUnavailable("the stream sent something that is no JSON"))
            return
        if "data" not in message:
            self._end(XUnavailable(f"X ends the stream: {message.get('errors', message)}"))
            return
        if self.allowance is not None:
            self.allowance -= 1
        if any(rule.get("tag") == self.tag for rule in message.get("matching_rules") or []):
            self.arrived.put(message["data"])
        if self.allowance is not None and self.allowance <= 0:
            self._end(None)

    def on_keep_alive(self) -> None:
        pass

    def on_closed(self, response: requests.Response) -> None:
        self._end(XUnavailable("X closed the stream"))

    def on_connection_error(self) -> None:
        self._end(XUnavailable("the connection to the stream broke"))

    def on_exception(self, exception: Exception) -> None:
        self._end(XUnavailable(f"the stream failed: {exception!r}"))

    def on_request_error(self, status_code: int) -> None:
        message = f"{status_code}: X does not open the stream"
        if status_code == 429:
            self._end(RateLimited(message, None))
        else:
            self._end(_ERRORS.get(status_code, XUnavailable)(message))

    def on_disconnect(self) -> None:
        self._end(None)

    def _end(self, problem: Exception | None) -> None:
        if not self.ended.is_set():
            self.problem = problem
        self.disconnect()
        self.ended.set()
        self.opened.set()
