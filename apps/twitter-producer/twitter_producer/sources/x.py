"""Posts of X: by search, by the filtered stream, or out of a file of recorded ones."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from twitter_producer import credentials
from twitter_producer.budget import Budget, BudgetSpent, StoredBudget
from twitter_producer.clock import XClock
from twitter_producer.compliance import Compliance
from twitter_producer.compliance_api import ComplianceApi
from twitter_producer.credential_rotation import CredentialRotation
from twitter_producer.credentials import CredentialsError
from twitter_producer.errors import BadRequest, Paused, SourceError, Unusable
from twitter_producer.progress import Batch, Progress, XPost
from twitter_producer.sources import Context, Source
from twitter_producer.sources.replay import ReplayReader
from twitter_producer.sources.search import SearchReader
from twitter_producer.sources.stream import StreamReader
from twitter_producer.spending import Spending
from twitter_producer.x import SinceIdTooOld, XApi

log = logging.getLogger(__name__)

_LONGEST_REST = 60.0


class Reader(Protocol):
    """Gives posts in batches, oldest first within each."""

    def read(self, progress: Progress) -> Batch:
        """Return what comes next after this progress; raises SourceError or BudgetSpent."""
        ...

    def pause(self) -> float:
        """Return the seconds to wait before the next read when everything has been read."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


@dataclass(frozen=True)
class Deletions:
    """Posts that are gone; the progress through the others does not move with them."""

    posts: list[XPost]
    ended: bool = False


class XSource(Source):
    """One of X's readers, with the credentials, X's clock, the day's budget and the progress."""

    network, title = "x", "X"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        settings = self.settings
        self._clock = XClock()
        self._budget = Budget(
            settings.budget_posts,
            settings.budget_price,
            settings.budget_stretch_from,
            author_price=settings.budget_author_price,
        )
        self._progress = Progress.begin(self._clock.now())
        self._restored = False
        self._batch: Batch | Deletions | None = None
        self._answered = False
        self._spending = Spending(
            settings,
            self._budget,
            self._clock,
            self.metrics,
            self.heartbeat,
            self._progress,
            self.save,
        )
        self._api = XApi(
            settings.x_api_url,
            settings.x_timeout_seconds,
            self._clock,
            settings.post_fields,
            authors=settings.author_names,
        )
        self._credentials = CredentialRotation(settings, credentials.reader(settings), self._api)
        self._compliance = Compliance(
            settings, ComplianceApi(self._api, self._credentials.bearer), self._clock.now
        )
        self._reader = self._make_reader()

    def restore(self, stored: dict[str, Any]) -> None:
        """Resume from a checkpoint's windows, ids and spending."""
        progress, spent = Progress.load(stored), StoredBudget.load(stored["budget"])
        if "compliance" in stored:
            self._compliance.load(stored["compliance"])
        self._progress, self._restored = progress, True
        self._budget.restore(spent, progress.next_window)
        log.info("resumes from the checkpoint", extra=progress.describe()[0])

    def begin(self) -> None:
        """Start with the look-back, by X's time."""
        self._restored = False

    def dump(self) -> dict[str, Any]:
        """Return windows, ids and spending, and what X is to be asked about deleted posts."""
        state = {**self._progress.dump(), "budget": asdict(self._budget.dump())}
        if self._compliance.enabled:
            state["compliance"] = self._compliance.dump()
        return state

    def describe(self) -> dict[str, Any]:
        """Return query, windows and the day's spending."""
        return {
            "query": self.settings.query or None,
            "checkpoint": self._progress.describe(),
            "budget": {
                "day": self._budget.day,
                "posts": self._budget.posts,
                **({"authors": self._budget.authors} if self.settings.author_names else {}),
                "unanswered": self._budget.reserved,
                "left": self._budget.left,
                "dollars": round(self._budget.dollars, 4),
            },
            **({"compliance": self._compliance.describe()} if self._compliance.enabled else {}),
        }

    def log_fields(self) -> dict[str, Any]:
        """Return the day's spending."""
        return {
            "spent_today": self._budget.posts,
            "dollars_today": round(self._budget.dollars, 3),
            "behind": self.behind,
        }

    def now(self) -> datetime:
        """Return X's time."""
        return self._clock.now()

    def open(self) -> bool:
        """Read the credentials and X's time: look-back and the day's budget begin by it."""
        if self.settings.source != "replay":
            if not self._credentials.known:
                self.waiting_for = "the credentials have not been read yet"
                try:
                    self._credentials.wait_for_keys(self.shutdown, self.heartbeat)
                except (CredentialsError, SourceError) as error:
                    raise Unusable(f"the credentials cannot be used: {error}", 1) from error
                self.waiting_for = None
            self.heartbeat.beat(self.settings.x_timeout_seconds * 2)
            if not self.shutdown and not self._clock.known:
                self._api.ask_time()
            if not self._clock.known:
                return False
        if not self._restored:
            lookback = timedelta(seconds=self.settings.lookback_seconds)
            self._progress = Progress.begin(self._clock.now() - lookback)
        self._spending.progress = self._progress
        self._spending.enter_day()
        return True

    def refresh(self) -> None:
        """Begin X's new day, and read the credentials when that is due."""
        self._spending.enter_day()
        if self._credentials.due():
            self.renew()

    def renew(self) -> bool:
        """Read the credentials again; the stream is opened anew with others."""
        changed = self._credentials.renew()
        if changed:
            self._reader.close()
        return changed

    def wait_for_credentials(self, seconds: float) -> None:
        """Wait so long, or until the credentials have changed."""
        if self._credentials.wait_for_change(seconds, self.shutdown, self.heartbeat):
            self._reader.close()

    def read(self) -> Batch | Deletions:
        """Return the next posts, or delivered ones that are gone."""
        self.heartbeat.beat(self.settings.x_timeout_seconds * 4)
        if gone := self._compliance.deletions():
            self._batch = Deletions(gone)
            return self._batch
        self.heartbeat.beat(self.settings.x_timeout_seconds * 2)
        corrections = self._clock.corrections
        try:
            self._batch = batch = self._reader.read(self._progress)
        except BudgetSpent as spent:
            raise self._paused(spent) from spent
        except BadRequest as error:
            if self._clock.corrections != corrections:
                log.warning("X's clock has changed: asks again", extra={"error": str(error)})
                return self.read()
            if self._answered:
                raise
            unfit = isinstance(error, SinceIdTooOld)  # even after the recovery
            what = "checkpoint" if unfit else f"query, {self.settings.query!r}"
            raise Unusable(f"X refuses the {what}: {error}") from error
        self._answered = True
        return batch

    def commit(self, done: Sequence[bool]) -> bool:
        """Move the windows; reserve the next page in the same write."""
        assert self._batch is not None
        self._compliance.remember(self._batch.posts, done)
        if isinstance(self._batch, Deletions):
            return all(done)
        before = list(self._progress.windows)
        overlap = self.settings.overlap_seconds
        self._progress.advance(self._batch, list(done), overlap, self._budget.day)
        self._spending.reserve_ahead()
        return self.behind and self._progress.windows != before

    @property
    def behind(self) -> bool:
        """Whether there are older windows to read."""
        return self._progress.behind

    @property
    def complete_until(self) -> datetime:
        """The time up to which everything has been delivered, as windows and ids tell it."""
        return self._progress.complete_until

    def pause(self) -> float:
        """Return the reader's interval, longer as the budget runs out."""
        return self._reader.pause() * self._budget.stretch()

    def release(self) -> None:
        """Give up what was reserved for the next page."""
        self._budget.stored = self._budget.ceiling

    def abort(self) -> None:
        """End the requests under way."""
        self._api.abort()

    def close(self) -> None:
        """Close the stream."""
        self._reader.close()

    def _paused(self, spent: BudgetSpent) -> Paused:
        left = (spent.until - self._clock.now()) / timedelta(seconds=1)
        return Paused(
            str(spent),
            "today's budget is spent: reading pauses until the next UTC day",
            min(max(left, 1.0), _LONGEST_REST),
            {
                "posts": self._budget.posts,
                "unanswered": self._budget.reserved,
                "until": spent.until.isoformat(),
            },
        )

    def _make_reader(self) -> Reader:
        settings = self.settings
        if settings.source == "replay":
            assert settings.replay_file is not None
            return ReplayReader(settings.replay_file, settings.replay_rate, self.metrics)
        shared = (settings, self._api, self.metrics, self._spending, self.shutdown)
        if settings.source == "stream":
            return StreamReader(*shared, self._credentials.bearer)
        return SearchReader(*shared)
