"""What may be read in a day. X bills each post that it returns once per UTC day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SMALLEST_PAGE = 10
_LONGEST_STRETCH = 40


class BudgetSpent(Exception):
    """Today's posts are used up; `until` is when the next day starts."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"the budget of this UTC day is spent; reading goes on at {until:%H:%MZ}")
        self.until = until


@dataclass
class Budget:
    """Counts posts against a limit per UTC day (0: no limit).

    `posts` have certainly been billed; up to `ceiling` may have been. The ceiling is stored before
    a request is made, so that a crash between the bill and the next checkpoint is never forgotten:
    after one, all of it counts as spent.
    """

    limit: int
    price: float
    stretch_from: float = 1.0
    day: str = ""
    posts: int = 0
    ceiling: int = 0

    def enter_day(self, now: datetime) -> bool:
        """Start counting anew if a new UTC day has begun; a clock set back starts none."""
        today = now.astimezone(UTC).date().isoformat()
        if today <= self.day:
            return False
        self.day, self.posts, self.ceiling = today, 0, 0
        return True

    def page(self, wanted: int, now: datetime, least: int = SMALLEST_PAGE) -> int:
        """Return how many posts the next request may bring; BudgetSpent if fewer than `least`."""
        room = wanted if not self.limit else min(wanted, self.limit - self.posts)
        if room < least:
            tomorrow = datetime.fromisoformat(self.day or now.date().isoformat()) + timedelta(1)
            raise BudgetSpent(tomorrow.replace(tzinfo=UTC))
        return room

    def reserve(self, page: int) -> bool:
        """Raise the ceiling for a request about to be made; True if it has to be stored first."""
        if not self.limit or self.posts + page <= self.ceiling:
            return False
        self.ceiling = self.posts + page
        return True

    def count(self, billed: int) -> None:
        """Count posts that X returned and had not returned before on this day."""
        self.posts += billed
        self.ceiling = max(self.ceiling, self.posts)

    def close(self) -> None:
        """Nothing is under way any more: what was reserved and not used is free again."""
        self.ceiling = self.posts

    @property
    def left(self) -> int | None:
        """Posts left today; None without a limit."""
        return max(0, self.limit - self.posts) if self.limit else None

    @property
    def dollars(self) -> float:
        """Today's estimated bill."""
        return self.posts * self.price

    def stretch(self) -> float:
        """Return the factor for the polling interval: 1, growing as the budget runs out."""
        if not self.limit or self.stretch_from >= 1:
            return 1.0
        used = self.posts / self.limit
        if used < self.stretch_from:
            return 1.0
        return min(_LONGEST_STRETCH, (1 - self.stretch_from) / max(1 - used, 1e-9))
