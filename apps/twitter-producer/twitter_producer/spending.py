"""The budget at work: asked before each request to X, told of each answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twitter_producer.budget import SMALLEST_PAGE, Budget, Reservation
from twitter_producer.clock import XClock
from twitter_producer.metrics import Metrics
from twitter_producer.progress import Progress, Window, XPost
from twitter_producer.settings import Settings
from twitter_producer.shutdown import Heartbeat

log = logging.getLogger(__name__)


@dataclass
class Spending:
    """Keeps the budget in step with X's day, the checkpoint and the metrics.

    `store` writes the checkpoint; `progress` tells which posts have been billed today already.
    """

    settings: Settings
    budget: Budget
    clock: XClock
    metrics: Metrics
    heartbeat: Heartbeat
    progress: Progress
    store: Callable[[], None] = field(default=lambda: None)
    #: Authors that this process knows to be billed today.
    _authors: set[Any] = field(default_factory=set)

    def enter_day(self) -> None:
        """Begin a new count if X's day has changed."""
        if self.budget.enter_day(self.clock.now()):
            self._authors.clear()
            log.info("a UTC day begins", extra={"day": self.budget.day})
        self.show()

    def reserve_page(self, window: Window) -> Reservation:
        """Return a reservation for a page of search results in a window; BudgetSpent if too few."""
        self._prepare()
        wanted = self.budget.page(self.settings.max_results)
        held = self.budget.reserve(wanted, self.clock.now())
        held.window = window
        self._store_ceiling()
        return held

    def reserve(self, wanted: int, *, least: int, spare: int) -> Reservation:
        """Return a reservation for a stream, with `spare` posts left free for searches."""
        self._prepare()
        held = self.budget.reserve(wanted, self.clock.now(), least=least, spare=spare)
        self._store_ceiling()
        return held

    def extend(self, held: Reservation, wanted: int, *, least: int, spare: int) -> None:
        """Let a stream's reservation grow again; BudgetSpent if there is no room."""
        self._prepare()
        self.budget.extend(held, wanted, self.clock.now(), least=least, spare=spare)
        self._store_ceiling()

    def settle(self, held: Reservation, posts: list[XPost], received: int | None = None) -> None:
        """Count the posts of an answer, each once a day; see Budget.settle."""
        self.enter_day()  # first: the answer may be the first one of a new day
        today = self.clock.now().date().isoformat()
        billed = self.progress.billed((post.id for post in posts), today)
        self.budget.settle(held, len(billed), received)
        if self.settings.author_names:
            authors = {str(post.data.get("author_id", "")) for post in posts if post.id in billed}
            new = authors - self._authors - {""}
            self._authors |= new
            self.budget.authors += len(new)
        self.show()

    def reserve_ahead(self) -> None:
        """Raise what is about to be stored by the next page: that saves a write before it."""
        self.budget.stored = self.budget.ceiling
        if (self.budget.left or 0) >= SMALLEST_PAGE:
            page = self.budget.page(self.settings.max_results)
            self.budget.stored = self.budget.ceiling + page

    def show(self) -> None:
        """Set the metrics."""
        left = self.budget.left
        self.metrics.spent_posts.set(self.budget.posts)
        self.metrics.spent_dollars.set(self.budget.dollars)
        self.metrics.unanswered_posts.set(self.budget.reserved)
        self.metrics.budget_left.set(float("inf") if left is None else left)

    def _prepare(self) -> None:
        self.heartbeat.beat(self.settings.x_timeout_seconds * 4)  # X may be slow at each page
        self.enter_day()

    def _store_ceiling(self) -> None:
        if self.budget.limit and self.budget.ceiling > self.budget.stored:
            self.budget.stored = self.budget.ceiling
            self.store()
