"""The time as X has it: its UTC day decides what is billed, whatever this machine's clock says."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

log = logging.getLogger(__name__)

_TOLERANCE = timedelta(seconds=60)


class XClock:
    """Follows the `Date` of X's answers, and in between a clock that cannot jump."""

    def __init__(self) -> None:
        self._known: datetime | None = None
        self._at = 0.0
        self._warned = False

    def now(self) -> datetime:
        """Return X's time; this machine's until X has answered."""
        if self._known is None:
            return datetime.now(UTC)
        return self._known + timedelta(seconds=time.monotonic() - self._at)

    def follow(self, date_header: str | None) -> None:
        """Take over the `Date` of an answer; says so when this machine's clock is off."""
        try:
            date = parsedate_to_datetime(date_header or "").astimezone(UTC)
        except (TypeError, ValueError):
            return
        self._known, self._at = date, time.monotonic()
        drift = datetime.now(UTC) - date
        off = abs(drift) > _TOLERANCE
        if off and not self._warned:
            log.warning(
                "this machine's clock differs from X's; X's is used",
                extra={"drift_seconds": round(drift.total_seconds())},
            )
        self._warned = off
