"""X's ids carry the time they were made at: the upper bits are milliseconds since X's epoch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(2010, 11, 4, 1, 42, 54, 657000, tzinfo=UTC)
_SHIFT = 22


def time_of(post_id: int) -> datetime:
    """Return when a post with this id was made (milliseconds)."""
    return _EPOCH + timedelta(milliseconds=post_id >> _SHIFT)


def first_at(moment: datetime) -> int:
    """Return the smallest id that can be made at this moment."""
    return max(0, int((moment - _EPOCH) / timedelta(milliseconds=1)) << _SHIFT)


def earlier(post_id: int, seconds: float) -> int:
    """Return the id that is so many seconds older."""
    return max(0, post_id - (int(seconds * 1000) << _SHIFT))
