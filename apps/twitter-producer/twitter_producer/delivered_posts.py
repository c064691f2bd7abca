"""The ids of the posts of X that were delivered, to ask X later which of them are gone."""

from __future__ import annotations

from array import array
from collections.abc import Collection

from twitter_producer.delivered_ids import packed, unpacked

#: Bounded, since a ConfigMap holds 1 MiB: these take 427 kB of it, and what else a checkpoint has
#: 450 kB at most.
MOST = 40_000


class DeliveredPosts:
    """The last ids; the oldest are forgotten first. One that was delivered twice may be in twice."""

    def __init__(self, most: int = MOST) -> None:
        self._ids = array("Q")
        self._most = most

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, post_id: int) -> None:
        """Remember an id as the newest."""
        self._ids.append(post_id)
        if len(self._ids) > self._most:
            del self._ids[: -self._most]

    def remove(self, post_ids: Collection[int]) -> None:
        """Forget some ids."""
        self._ids = array("Q", (kept for kept in self._ids if kept not in post_ids))

    def ids(self) -> set[int]:
        """Return the ids."""
        return set(self._ids)

    def dump(self) -> str:
        """Return the ids as text, oldest first."""
        return packed(self._ids)

    def load(self, text: str) -> None:
        """Take over what `dump` returned; ValueError if it is not that."""
        self._ids = array("Q", unpacked(text)[-self._most :])
