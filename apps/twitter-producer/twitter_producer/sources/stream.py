"""The filtered stream, with recent search for what was missed while not connected.

Search knows a post only some seconds after the stream. So after connecting there are two looks
back: at once, and when OVERLAP_SECONDS have passed; only then does the checkpoint move again.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import requests
import tweepy
import urllib3

from twitter_producer import json_text
from twitter_producer.budget import SMALLEST_PAGE, BudgetSpent, Reservation
from twitter_producer.errors import BadRequest, SourceError, Unavailable
from twitter_producer.http_answers import printable
from twitter_producer.metrics import Metrics
from twitter_producer.progress import Batch, Progress
from twitter_producer.settings import Settings
from twitter_producer.shutdown import Shutdown
from twitter_producer.sources.posts import posts
from twitter_producer.sources.search import SearchReader
from twitter_producer.spending import Spending
from twitter_producer.x import TWEEPY_URL, XApi, translate, with_author

log = logging.getLogger(__name__)

_QUEUE = 1000
_CHUNK = 100
_GATHER_SECONDS = 1.0
#: X bills what it has sent until it sees the connection close: kept back from the budget.
_IN_FLIGHT = 10
#: X sends something at least every 20 s.
_SILENCE_SECONDS = 25.0
_LONGEST_MESSAGE = 1 << 20
_LONGEST_PROBLEM = 64 << 10


class StreamReader:
    """Holds the stream open and hands on what arrives."""

    def __init__(
        self,
        settings: Settings,
        api: XApi,
        metrics: Metrics,
        spending: Spending,
        shutdown: Shutdown,
        bearer: Callable[[], str],
    ) -> None:
        self._settings, self._api, self._metrics = settings, api, metrics
        self._spending, self._bearer = spending, bearer
        self._search = SearchReader(settings, api, metrics, spending, shutdown)
        self._connection: _Connection | None = None
        self._catch_up = True
        self._settled_at = 0.0

    def read(self, progress: Progress) -> Batch:
        """Return what the stream brought in the last second, or what search finds of the past."""
        try:
            return self._read(progress)
        except BudgetSpent:
            if self._connection is None:
                raise
            self.close()  # what was reserved for the stream is free again
            return self._search.read(progress)

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
            # What was under way may have been billed; a search will find it.
            held = self._connection.held
            held.size = min(held.size, _IN_FLIGHT + self._connection.arrived.qsize())
            held.window = self._spending.progress.next_window
            self._connection = None

    def _connected(self) -> _Connection:
        if self._connection is not None and self._connection.ended.is_set():
            if not self._connection.arrived.empty():
                return self._connection
            problem = self._connection.problem
            self.close()
            log.warning("the stream has ended", extra={"problem": str(problem)})
            if problem is not None:
                raise problem
        if self._connection is None:
            self._connection = self._connect()
            self._catch_up = True
            self._settled_at = time.monotonic() + max(self._settings.overlap_seconds, 1.0)
        return self._connection

    def _connect(self) -> _Connection:
        bearer = self._bearer()
        tag = self._set_rule(bearer)
        held = self._spending.reserve(_CHUNK, least=_IN_FLIGHT + 1, spare=SMALLEST_PAGE)
        allowance = held.size - _IN_FLIGHT if self._settings.budget_posts else None
        connection = _Connection(bearer, self._api, tag, held, allowance)
        self._metrics.polls.inc()
        connection.start()
        try:
            if not connection.opened.wait(self._settings.x_timeout_seconds + _SILENCE_SECONDS):
                connection.hang_up()
                raise Unavailable("the stream did not open in time")
            if connection.problem is not None:
                raise connection.problem
        except SourceError as error:
            if error.unbilled:
                self._spending.budget.release(held)
            raise
        log.info("the stream is open")
        return connection

    def _set_rule(self, bearer: str) -> str:
        """Make this pipeline's rule the one its query asks for, others left alone; return its tag."""
        client = tweepy.StreamingClient(bearer, return_type=requests.Response)
        self._api.mount(client.session)
        tag = f"twitter-producer/{self._settings.pipeline}"
        rules = self._api.request(client.get_rules).get("data") or []
        if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
            raise Unavailable("X answered with something that is not a list of rules")
        ours = [rule for rule in rules if rule.get("tag") == tag]
        if len(rules) > len(ours):
            log.warning("the app has other rules: what they match is billed and left out here")
        stale = [rule.get("id") for rule in ours if rule.get("value") != self._settings.query]
        if stale:
            self._api.request(client.delete_rules, stale)
        if len(ours) == len(stale):
            rule = tweepy.StreamRule(self._settings.query, tag)
            answer = self._api.request(client.add_rules, rule)
            if not answer.get("data"):
                reason = printable(str(answer.get("errors")))
                raise BadRequest(f"X refuses the rule: {reason}")
        return tag

    def _drain(self, connection: _Connection, progress: Progress, settling: bool) -> Batch:
        entries: list[Any] = []
        until = time.monotonic() + _GATHER_SECONDS
        while len(entries) < _CHUNK and not connection.ended.is_set():
            try:
                entries.append(connection.arrived.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
        while len(entries) < _CHUNK and not connection.arrived.empty():
            entries.append(connection.arrived.get_nowait())
        found = posts(entries, self._metrics)
        if entries:
            self._spending.settle(connection.held, found, received=len(entries))
        if connection.allowance is not None and entries and not connection.ended.is_set():
            connection.allow(len(entries), self._spending)
        unique = {post.id: post for post in found}
        fresh = [unique[i] for i in sorted(unique) if i not in progress.seen]
        newest = None if settling else max(unique, default=None)
        return Batch(fresh, progress.next_window, newest=newest, ended=not settling)


class _Connection(threading.Thread):
    """One connection; when it ends, the producer's loop decides what follows.

    `held` is reserved for what X may send. `allowance`: posts that X may still send before the
    connection is closed; None without a budget.
    """

    def __init__(
        self, bearer: str, api: XApi, tag: str, held: Reservation, allowance: int | None
    ) -> None:
        super().__init__(name="stream", daemon=True)
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {bearer}"
        self._adapter, self._api = api.mount(self._session), api
        self._tag = tag
        self.held, self.allowance = held, allowance
        self.arrived: queue.Queue[Any] = queue.Queue(_QUEUE)
        self.opened, self.ended = threading.Event(), threading.Event()
        self.problem: Exception | None = None

    def hang_up(self) -> None:
        """Disconnect at once: what X still sends is billed."""
        self._end(None)
        self._adapter.hang_up()

    def allow(self, counted: int, spending: Spending) -> None:
        """Let X send as many posts more as were counted, unless the budget is spent.

        A page of the budget is left for the search that follows when the connection breaks.
        """
        assert self.allowance is not None
        try:
            spending.extend(self.held, _CHUNK, least=_IN_FLIGHT + 1, spare=SMALLEST_PAGE)
        except BudgetSpent as spent:
            self._end(spent)
            return
        self.allowance = min(self.allowance + counted, self.held.size - _IN_FLIGHT)

    def run(self) -> None:
        """Read the stream until either side ends it."""
        try:
            with self._open() as response:
                self._api.clock.follow(response.headers.get("Date"))
                if response.status_code != 200:
                    body = response.raw.read1(_LONGEST_PROBLEM, decode_content=True)
                    raise translate(response.status_code, response.reason, response.headers, body)
                self.opened.set()
                for line in _lines(response.raw):
                    if line:
                        self._take(line)
                    if self.ended.is_set():
                        return
            self._end(Unavailable("X closed the stream"))
        except SourceError as error:
            self._end(error)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            self._end(Unavailable(f"the connection to the stream broke: {error}"))
        except Exception as error:  # such as what urllib3 raises when it is closed meanwhile
            self._end(Unavailable(f"the stream failed: {error!r}"))
        finally:
            self._session.close()

    def _open(self) -> requests.Response:
        return self._session.get(
            TWEEPY_URL + "/2/tweets/search/stream",
            params={
                "tweet.fields": ",".join(self._api.field_names("tweet.fields")),
                **self._api.expansions,
            },
            stream=True,
            timeout=(self._api.timeout, _SILENCE_SECONDS),
        )

    def _take(self, line: bytes) -> None:
        try:
            message = json_text.decode(line)
        except ValueError as error:
            raise Unavailable("the stream sent something that is not JSON") from error
        if not isinstance(message, dict) or "data" not in message:
            raise Unavailable(f"X ends the stream: {printable(str(message))}")
        if self.allowance is not None:
            self.allowance -= 1
        rules = message.get("matching_rules")
        rules = rules if isinstance(rules, list) else []
        if any(isinstance(rule, dict) and rule.get("tag") == self._tag for rule in rules):
            post = message["data"]
            if self._api.authors:
                post = with_author(post, message.get("includes"))
            self._hand_over(post)
        if self.allowance is not None and self.allowance <= 0:
            self._end(None)

    def _hand_over(self, entry: Any) -> None:
        """Put an entry into the queue; while that is full, X has to wait."""
        while not self.ended.is_set():
            try:
                self.arrived.put(entry, timeout=1)
                return
            except queue.Full:
                continue

    def _end(self, problem: Exception | None) -> None:
        if not self.ended.is_set():
            self.problem = problem
        self.ended.set()
        self.opened.set()


def _lines(raw: Any) -> Iterator[bytes]:
    """Yield the lines of a response; Unavailable where one is longer than any message."""
    rest = bytearray()
    while piece := raw.read1(1 << 16, decode_content=True):
        searched = len(rest)
        rest += piece
        start = 0
        while (end := rest.find(b"\n", max(start, searched))) >= 0:
            yield bytes(rest[start:end].strip())
            start = end + 1
        del rest[:start]
        if len(rest) > _LONGEST_MESSAGE:
            raise Unavailable("the stream sent a message that is too long")
