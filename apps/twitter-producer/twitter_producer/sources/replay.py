"""Posts from a file, for trials without X."""

from __future__ import annotations

import json
from pathlib import Path

from twitter_producer.metrics import Metrics
from twitter_producer.progress import Batch, Progress
from twitter_producer.sources import parsing

_CHUNK = 100


class ReplayError(Exception):
    """The file cannot be replayed."""


class ReplaySource:
    """Gives the posts of a file in the order of their ids, each once."""

    def __init__(self, path: Path, rate: float, metrics: Metrics) -> None:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            entries = content["data"] if isinstance(content, dict) else content
            found = parsing.posts(entries, metrics)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ReplayError(f"{path} is no file of posts: {error!r}") from error
        self._posts = sorted(found, key=lambda post: post.id)
        self._rate = rate

    def read(self, progress: Progress) -> Batch:
        """Return the next posts; at a given rate one at a time."""
        window = progress.next_window
        size = 1 if self._rate else _CHUNK
        after = window.after or 0
        rest = [post for post in self._posts if post.id > after]
        chunk = rest[:size]
        newest = chunk[-1].id if chunk else None
        return Batch(chunk, window, newest=newest, ended=len(rest) <= size)

    def pause(self) -> float:
        """Return the seconds between two posts."""
        return 1 / self._rate if self._rate else 0.0

    def close(self) -> None:
        """Nothing is open."""
