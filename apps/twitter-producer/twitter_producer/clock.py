"""The time as X has it: its UTC day decides what is billed, whatever this machine's clock says."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

log = logging.getLogger(__name__)

_TOLERANCE = timedelta(seconds=60)
_LONGEST_DATE = 64
_JUMP = timedelta(days=1)


class XClock:
    """Follows the `Date` of X's answers, and in between a clock that cannot jump.

    A `Date` more than a day off has to be confirmed by the next answer.
    """

    def __init__(self) -> None:
        self._known: datetime | None = None
        self._at = 0.0
        self._doubted: timedelta | None = None
        #: How often an answer has shown that the time known before was wrong.
        self.corrections = 0
        self._warned = False

    @property
    def known(self) -> bool:
        """Whether X has told its time."""
        return self._known is not None

    def now(self) -> datetime:
        """Return X's time; this machine's until X has answered."""
        if self._known is None:
            return datetime.now(UTC)
        return self._known + timedelta(seconds=time.monotonic() - self._at)

    def follow(self, date_header: str | None) -> None:
        """Take over the `Date` of an answer; logs when this machine's clock is off."""
        try:
            date = parsedate_to_datetime((date_header or "")[:_LONGEST_DATE]).astimezone(UTC)
            drift = datetime.now(UTC) - date
        except (TypeError, ValueError, OverflowError):
            return
        jump = date - self.now() if self._known is not None else timedelta(0)
        if abs(jump) > _JUMP:
            confirmed = self._doubted is not None and abs(jump - self._doubted) < _TOLERANCE
            self._doubted = jump
            if not confirmed:
                log.warning(
                    "X's Date jumps: ignored until it is confirmed", extra={"date": str(date)}
                )
                return
        self._doubted = None
        self.corrections += abs(jump) > _TOLERANCE
        self._known, self._at = date, time.monotonic()
        off = abs(drift) > _TOLERANCE
        if off and not self._warned:
            log.warning(
                "this machine's clock differs from X's; X's is used",
                extra={"drift_seconds": round(drift.total_seconds())},
            )
        self._warned = off

    def trust_this_machine(self) -> None:
        """Take this machine's time for X's, where X's answers carry no `Date`."""
        log.warning("X's answers carry no Date: this machine's clock decides on the day's budget")
        self._known, self._at = datetime.now(UTC), time.monotonic()
