"""Recent search, polled: X answers newest first, the batches are oldest first."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

from twitter_producer import snowflake
from twitter_producer.budget import BudgetSpent
from twitter_producer.errors import SourceError, Unavailable
from twitter_producer.metrics import Metrics
from twitter_producer.progress import Batch, Progress, Window, XPost
from twitter_producer.settings import WEEK_SECONDS, Settings
from twitter_producer.shutdown import Shutdown
from twitter_producer.sources.posts import posts
from twitter_producer.spending import Spending
from twitter_producer.x import Page, SinceIdTooOld, XApi, start_parameter

log = logging.getLogger(__name__)

#: Distance kept from X's limit of 7 days.
_MARGIN = timedelta(minutes=1)
#: X takes no start_time closer than 10 s to now.
_SETTLED = timedelta(seconds=15)
#: Empty pages in a row, each with a token for the next one, before X counts as out of order.
_MOST_EMPTY = 20


class SearchReader:
    """Reads windows of ids page by page."""

    def __init__(
        self,
        settings: Settings,
        api: XApi,
        metrics: Metrics,
        spending: Spending,
        shutdown: Shutdown,
    ) -> None:
        self._settings, self._api, self._metrics = settings, api, metrics
        self._spending, self._shutdown = spending, shutdown
        self._smallest: int | None = None
        self._current = False

    def read(self, progress: Progress) -> Batch:
        """Read the next window; what cannot be read now is left for the next time."""
        window = progress.next_window
        read: dict[int, XPost] = {}
        token: str | None = None
        reached_end = False
        filled = empty = 0
        day = self._spending.budget.day
        while filled < self._settings.max_pages:
            if self._shutdown and read:
                break
            try:
                page, found = self._page(progress, token, min(read, default=window.before))
                empty = 0 if found else empty + 1
                if page.next_token is not None and (
                    empty > _MOST_EMPTY or page.next_token == token
                ):
                    raise Unavailable("X answers with empty pages that never end")
            except (SourceError, BudgetSpent):
                if not read:
                    raise
                log.info("reading stops early; the rest is read later", extra={"page": filled})
                break
            filled += bool(found)
            read |= {post.id: post for post in found}
            token = page.next_token
            reached_end = token is None
            if reached_end:
                if self._spending.budget.day == day:
                    self._spending.budget.resolve(window)
                break
        fresh = [read[i] for i in sorted(read) if i not in progress.seen]
        self._metrics.duplicates.inc(len(read) - len(fresh))
        left = None
        if not reached_end and (read or window.before is not None):
            lowest = min(read, default=window.before)
            left = Window(after=window.after, before=lowest, start=window.start)
        self._current = self._current or reached_end
        return Batch(
            fresh, window, left, newest=max(read, default=self._smallest), ended=reached_end
        )

    def pause(self) -> float:
        """Return the polling interval."""
        return self._settings.poll_interval_seconds

    def close(self) -> None:
        """Nothing is open between two polls."""

    def _page(
        self, progress: Progress, token: str | None, before: int | None
    ) -> tuple[Page, list[XPost]]:
        """Return the next page, whose posts are older than `before`, and its posts."""
        held = self._spending.reserve_page(replace(progress.next_window, before=before))
        self._metrics.polls.inc()
        size = held.size
        try:
            try:
                page = self._api.search(self._settings.query, size, self._bounds(progress, token))
            except SinceIdTooOld as error:
                page = self._after_recovery(progress, size, error)
        except SourceError as error:
            if error.unbilled:
                self._spending.budget.release(held)
            raise
        found = posts(page.posts, self._metrics)
        self._spending.settle(held, found)
        remaining = self._api.rate_limit.remaining
        if remaining is not None:
            self._metrics.rate_limit_remaining.set(remaining)
        return page, found

    def _bounds(self, progress: Progress, token: str | None) -> dict[str, Any]:
        """Return the parameters that bound the search; at most one lower and one upper bound."""
        window = progress.next_window
        bounds: dict[str, Any] = {"next_token": token} if token else {}
        if window.before is not None:
            bounds["until_id"] = str(window.before)
        if window.after is not None:
            since = progress.read_after(window.after, self._settings.overlap_seconds)
            bounds["since_id"] = str(max(since, self._smallest or 0))
            return bounds
        now = self._api.clock.now()
        oldest = now - timedelta(seconds=WEEK_SECONDS) + _MARGIN
        start = min(max(window.start or oldest, oldest), now - _SETTLED)
        bounds["start_time"] = start_parameter(start)
        return bounds

    def _after_recovery(self, progress: Progress, size: int, error: SinceIdTooOld) -> Page:
        """Search again from the oldest id that X still knows."""
        window = progress.next_window
        oldest = self._api.clock.now() - timedelta(seconds=WEEK_SECONDS) + _MARGIN
        smallest = error.smallest or snowflake.first_at(oldest)
        self._smallest = snowflake.earlier(smallest, -_MARGIN.total_seconds())
        if not self._current:  # else: there was nothing to find for 7 days
            log.warning(
                "the checkpoint is older than what X remembers: posts in between are lost",
                extra={"checkpoint": window.after, "continues_after": self._smallest},
            )
        if window.before is not None and window.before <= self._smallest:
            return Page([], None)
        return self._api.search(self._settings.query, size, self._bounds(progress, None))
