"""Posts from a file, for trials without X."""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter
from pathlib import Path

from twitter_producer import json_text
from twitter_producer.metrics import Metrics
from twitter_producer.progress import Batch, Progress
from twitter_producer.sources.posts import posts

_CHUNK = 100
#: Nothing is added to a file that has been read; until the process is stopped it only waits.
_REST_SECONDS = 60.0


class ReplayError(Exception):
    """The file cannot be replayed."""


class ReplayReader:
    """Gives the posts of a file in the order of their ids, each once.

    At a `rate` of so many posts a second; 0: as fast as they are taken.
    """

    def __init__(self, path: Path, rate: float, metrics: Metrics) -> None:
        try:
            content = json_text.decode(path.read_bytes())
            entries = content["data"] if isinstance(content, dict) else content
            if not isinstance(entries, list):
                raise TypeError("its data is not a list")
            found = posts(entries, metrics)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ReplayError(f"{path} is not a file of posts: {error!r}") from error
        unique = {post.id: post for post in found}
        self._posts = [unique[post_id] for post_id in sorted(unique)]
        self._rate = rate
        self._ended = False

    def read(self, progress: Progress) -> Batch:
        """Return the next posts; at a given rate one at a time."""
        window = progress.next_window
        begin = bisect_right(self._posts, window.after or 0, key=attrgetter("id"))
        chunk = self._posts[begin : begin + (1 if self._rate else _CHUNK)]
        self._ended = begin + len(chunk) >= len(self._posts)
        newest = chunk[-1].id if chunk else None
        return Batch(chunk, window, newest=newest, ended=self._ended)

    def pause(self) -> float:
        """Return the seconds between two posts."""
        if self._ended:
            return _REST_SECONDS
        return 1 / self._rate if self._rate else 0.0

    def close(self) -> None:
        """Nothing is open."""
