"""Progress through X's posts: what has been delivered, and what is still to be read.

Ids are only roughly in order of time, so a plain "newest id" is not enough. What is still to be
read is a list of windows of ids; one of them is open to the future. Each is read with an overlap
below its lower end, and ids delivered in there are remembered as seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from twitter_producer import snowflake
from twitter_producer.posts import Post

#: Ids remembered at most: a ConfigMap holds 1 MiB. X's own limit of 250 posts/s fills an overlap
#: of 30 s with 7,500.
MOST_SEEN = 20_000


@dataclass(frozen=True, slots=True)
class Window:
    """Ids above `after` (or posts from `start` on) and below `before`; without it, open."""

    after: int | None = None
    before: int | None = None
    start: datetime | None = None

    def holds(self, post_id: int, overlap_seconds: float) -> bool:
        """Return whether reading this window can return the id."""
        above = self.after is None or post_id > snowflake.earlier(self.after, overlap_seconds)
        return above and (self.before is None or post_id < self.before)

    def covers(self, other: Window) -> bool:
        """Return whether every post of the other window is in this one as well."""
        if self.before is not None and (other.before is None or other.before > self.before):
            return False
        if self.after is not None:
            return other.after is not None and other.after >= self.after
        if self.start is None:
            return True
        if other.after is not None:
            return snowflake.time_of(other.after) >= self.start
        return other.start is not None and other.start >= self.start


@dataclass(frozen=True, slots=True)
class XPost(Post):
    """A post as X returned it."""

    id: int


@dataclass(frozen=True)
class Batch:
    """Posts to deliver next, oldest first.

    `window` is what was read, `left` its older end where that was not reached.
    `newest` is the id up to which an open window has been read, as far as that is known. `ended`:
    for now there is nothing more in there.
    """

    posts: list[XPost]
    window: Window
    left: Window | None = None
    newest: int | None = None
    ended: bool = False


@dataclass
class Progress:
    """Windows still to be read, in this order, and what is known of ids in there.

    `seen` have been delivered, `read` have been read only; each with the UTC day it was billed on.
    Delivered ids up to `floor` may have been forgotten, so nothing below it is read again.
    """

    windows: list[Window]
    seen: dict[int, str] = field(default_factory=dict)
    read: dict[int, str] = field(default_factory=dict)
    floor: int = 0
    #: Posts of the batch that is being read, with the day they were billed on.
    _new: dict[int, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def begin(cls, start: datetime) -> Progress:
        """Return the progress of a first start."""
        return cls([Window(start=start)])

    @property
    def next_window(self) -> Window:
        """The window to be read next."""
        return self.windows[0]

    @property
    def behind(self) -> bool:
        """Whether there is something to read besides what is new."""
        return len(self.windows) > 1

    @property
    def complete_until(self) -> datetime:
        """The time up to which everything has been delivered, as the windows and ids tell it."""
        return min(w.start or snowflake.time_of(w.after or 0) for w in self.windows)

    def advance(self, batch: Batch, done: list[bool], overlap_seconds: float, day: str) -> None:
        """Record a batch: `done` says which of its posts need no delivery any more.

        Posts count as billed on the day that `billed` was told, else on this one.
        """
        window = batch.window
        left = [batch.left] if batch.left else []
        others = [other for other in self.windows if other != window]
        if False in done:
            self.windows = [_undelivered(batch, done.index(False)), *left, *others]
        else:
            head = [_read_up_to(window, batch.newest)] if window.before is None else []
            self.windows = left + others + head
        for post, delivered in zip(batch.posts, done, strict=True):
            self.read.pop(post.id, None)
            (self.seen if delivered else self.read)[post.id] = self._new.get(post.id, day)
        self._new.clear()
        self.seen = self._within_windows(self.seen, overlap_seconds)
        self.read = self._within_windows(self.read, overlap_seconds)
        if len(self.seen) > MOST_SEEN:
            forgotten = sorted(self.seen)[:-MOST_SEEN]
            self.floor = max(self.floor, forgotten[-1])
            for post_id in forgotten:
                del self.seen[post_id]

    def read_after(self, window_after: int, overlap_seconds: float) -> int:
        """Return the id above which a window is read: its own, less the overlap."""
        overlapping = snowflake.earlier(window_after, overlap_seconds)
        return max(overlapping, min(self.floor, window_after))

    def billed(self, post_ids: Iterable[int], day: str) -> set[int]:
        """Return which of the posts X bills when it returns them now; records the day."""
        new = set()
        for post_id in post_ids:
            known = next((d for d in (self.seen, self.read) if post_id in d), self._new)
            if known.get(post_id) != day:
                new.add(post_id)
                known[post_id] = day
        return new

    def _within_windows(self, ids: dict[int, str], overlap_seconds: float) -> dict[int, str]:
        return {
            post_id: day
            for post_id, day in ids.items()
            if any(window.holds(post_id, overlap_seconds) for window in self.windows)
        }

    def describe(self) -> list[dict[str, str]]:
        """Return the windows as JSON has them."""
        return [
            {
                name: str(value) if isinstance(value, int) else value.isoformat()
                for name in ("after", "before", "start")
                if (value := getattr(window, name)) is not None
            }
            for window in self.windows
        ]

    def dump(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "windows": self.describe(),
            "seen": _by_day(self.seen),
            "read": _by_day(self.read),
            "floor": str(self.floor),
        }

    @classmethod
    def load(cls, stored: dict[str, Any]) -> Progress:
        """Return the progress that `dump` wrote."""
        windows = [
            Window(
                after=int(window["after"]) if "after" in window else None,
                before=int(window["before"]) if "before" in window else None,
                start=datetime.fromisoformat(window["start"]) if "start" in window else None,
            )
            for window in stored["windows"]
        ]
        if sum(window.before is None for window in windows) != 1:
            raise ValueError("there has to be one open window")
        for window in windows:
            snowflake.time_of(window.after or 0)  # ids of another world have no time
        return cls(windows, _by_id(stored["seen"]), _by_id(stored["read"]), int(stored["floor"]))


def _undelivered(batch: Batch, first: int) -> Window:
    """Return the part of a batch's window from its post number `first` on.

    Its lower end never moves backwards, although posts in the overlap lie below it: what was
    delivered below the overlap has been forgotten, and would be delivered again.
    """
    if first:
        after = batch.posts[first - 1].id
    elif batch.left and batch.left.before is not None:
        after = batch.left.before - 1
    else:
        return batch.window
    return replace(batch.window, after=max(after, batch.window.after or 0), start=None)


def _read_up_to(window: Window, newest: int | None) -> Window:
    """Return what is left of an open window that was read as far as the id."""
    if newest is None:
        return window
    return Window(after=max(newest, window.after or 0))


def _by_day(ids: dict[int, str]) -> dict[str, list[str]]:
    days: dict[str, list[str]] = {}
    for post_id, day in sorted(ids.items()):
        days.setdefault(day, []).append(str(post_id))
    return days


def _by_id(days: dict[str, list[str]]) -> dict[int, str]:
    return {int(post_id): day for day, ids in days.items() for post_id in ids}
