"""What may be read in a day. X bills each post that it returns once per UTC day."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from twitter_producer.progress import Window

SMALLEST_PAGE = 10
_LONGEST_STRETCH = 40
_DAY = timedelta(days=1)


class BudgetSpent(Exception):
    """Today's posts are used up; `until` is when the next day starts."""

    def __init__(self, until: datetime, unanswered: int) -> None:
        held = f" ({unanswered} posts are held for requests without an answer)"
        super().__init__(
            "the budget of this UTC day is spent"
            + (held if unanswered else "")
            + f"; reading goes on at {until:%H:%MZ}"
        )
        self.until = until


@dataclass(frozen=True)
class StoredBudget:
    """The spending of a UTC day.

    `posts` have certainly been billed, and up to `ceiling` may have, or will be; `carried` of these
    were reserved on the day before, which cost `before` at most. `authors` were billed beside them.
    """

    day: str
    posts: int
    ceiling: int
    before: int = 0
    carried: int = 0
    authors: int = 0

    @classmethod
    def load(cls, stored: dict[str, Any]) -> StoredBudget:
        """Return the spending that was stored as JSON."""
        day = date.fromisoformat(stored["day"]).isoformat() if stored["day"] else ""
        posts, ceiling = int(stored["posts"]), int(stored["ceiling"])
        before, carried = int(stored.get("before", 0)), int(stored.get("carried", 0))
        authors = int(stored.get("authors", 0))
        if min(posts, ceiling, before, carried, authors) < 0:
            raise ValueError("a number of posts or authors is negative")
        return cls(day, posts, ceiling, before, carried, authors)


@dataclass(eq=False)
class Reservation:
    """Posts that a request may still bring, and X may bill although no answer arrives.

    `window` holds all of them, as far as that is known. `carried`: made on the day before.
    """

    size: int
    window: Window | None = None
    carried: bool = False


@dataclass
class Budget:
    """Counts posts against a limit per UTC day (0: no limit).

    `posts` have certainly been billed. Besides them each request holds a reservation, from before
    it is made until its answer shows what it really cost; without an answer it stays, and counts.
    `stored` is the part of both that the checkpoint knows: it is written before the request, so
    that a crash between the bill and the next checkpoint is never forgotten. `authors` are counted
    for the estimate only: each post brings one at most.
    """

    limit: int
    price: float
    stretch_from: float = 1.0
    day: str = ""
    posts: int = 0
    authors: int = 0
    author_price: float = 0.0
    before: int = 0
    stored: int = 0
    set_back: bool = False
    reservations: list[Reservation] = field(default_factory=list)

    def restore(self, stored: StoredBudget, window: Window) -> None:
        """Go on from a checkpoint: what was reserved may have been billed, or will be."""
        self.day, self.posts, self.before = stored.day, stored.posts, stored.before
        self.authors = stored.authors
        self.stored = max(stored.posts, stored.ceiling)
        carried = min(stored.carried, self.stored - self.posts)
        for size, from_before in ((carried, True), (self.stored - self.posts - carried, False)):
            if size:
                self.reservations.append(Reservation(size, window, from_before))

    def dump(self) -> StoredBudget:
        """Return what the checkpoint has to know."""
        carried = sum(held.size for held in self.reservations if held.carried)
        return StoredBudget(self.day, self.posts, self.stored, self.before, carried, self.authors)

    def enter_day(self, now: datetime) -> bool:
        """Count from 0 if a new UTC day has begun; a clock set back begins none.

        A reservation that is still held counts on the next day as well: its request may have been
        billed after midnight. A stored day that lies further ahead than a clock is set back was
        written by a wrong one: its posts count as today's.
        """
        today = now.astimezone(UTC).date()
        if self.day and date.fromisoformat(self.day) > today + _DAY:
            self.day = today.isoformat()
        self.set_back = today.isoformat() < self.day
        if today.isoformat() <= self.day:
            return False
        follows = bool(self.day) and date.fromisoformat(self.day) + _DAY == today
        self.before = self.ceiling if follows else 0
        self.day, self.posts, self.stored, self.authors = today.isoformat(), 0, 0, 0
        self.reservations = [held for held in self.reservations if not held.carried]
        for held in self.reservations:
            held.carried = True
        return True

    @property
    def reserved(self) -> int:
        """Posts that may have been billed, or will be."""
        return sum(held.size for held in self.reservations)

    def reserve(
        self, wanted: int, now: datetime, *, least: int = SMALLEST_PAGE, spare: int = 0
    ) -> Reservation:
        """Return a reservation of up to so many posts; BudgetSpent if fewer than `least` are left.

        `spare` posts are left free. The ceiling has to be stored before the request is made.
        """
        room = self._room(now, least, spare)
        held = Reservation(min(wanted, room))
        self.reservations.append(held)
        return held

    def page(self, wanted: int) -> int:
        """Return the size of the next page.

        A page is a tenth of the budget at most, and smaller with each request that remains without
        an answer: so these do not use it up.
        """
        if not self.limit:
            return wanted
        cautious = max(SMALLEST_PAGE, self.limit // 10) >> min(len(self.reservations), 16)
        return min(wanted, max(SMALLEST_PAGE, cautious))

    def extend(
        self, held: Reservation, wanted: int, now: datetime, *, least: int, spare: int = 0
    ) -> None:
        """Let a reservation grow to so many posts; BudgetSpent, and it stays, without room."""
        self.reservations.remove(held)
        try:
            room = self._room(now, least, spare)
        finally:
            self.reservations.append(held)
        held.size = max(held.size, min(wanted, room))

    def _room(self, now: datetime, least: int, spare: int) -> int:
        if not self.limit:
            return 1 << 30
        spent = max(self.posts, self.before) if self.set_back else self.posts
        room = self.limit - spent - self.reserved - spare
        if room < least:
            day = datetime.fromisoformat(self.day or now.date().isoformat())
            raise BudgetSpent(day.replace(tzinfo=UTC) + _DAY, self.reserved)
        return room

    @property
    def ceiling(self) -> int:
        """Posts that may have been billed today at most."""
        return self.posts + self.reserved

    def settle(self, held: Reservation, billed: int, received: int | None = None) -> None:
        """Count posts that X returned and had not returned before on this day.

        With `received`, only so many of the reservation's posts have arrived yet.
        """
        self.posts += billed
        if self.set_back:
            self.before += billed
        if received is None:
            self.reservations.remove(held)
        else:
            held.size = max(0, held.size - received)

    def release(self, held: Reservation) -> None:
        """Give up a reservation whose request is known to have cost nothing."""
        self.reservations.remove(held)

    def resolve(self, window: Window) -> None:
        """Give up what was held for requests in a window that has been read to its end.

        All that they may have brought has now been counted.
        """
        self.reservations = [
            held
            for held in self.reservations
            if held.window is None or not window.covers(held.window)
        ]

    @property
    def left(self) -> int | None:
        """Posts left today; None without a limit."""
        return max(0, self.limit - self.ceiling) if self.limit else None

    @property
    def dollars(self) -> float:
        """Today's estimated bill."""
        return self.posts * self.price + self.authors * self.author_price

    def stretch(self) -> float:
        """Return the factor for the polling interval: 1, growing as the budget runs out."""
        if not self.limit or self.stretch_from >= 1:
            return 1.0
        used = self.posts / self.limit
        if used < self.stretch_from:
            return 1.0
        return min(_LONGEST_STRETCH, (1 - self.stretch_from) / max(1 - used, 1e-9))
