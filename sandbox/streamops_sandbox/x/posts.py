"""The posts that the stand-in for X knows, in the order of their ids."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from streamops_sandbox.home import SandboxError

OWN_POSTS = Path(__file__).parent / "posts.json"
MEMORY = timedelta(days=7)

_EPOCH = datetime(2010, 11, 4, 1, 42, 54, 657000, tzinfo=UTC)
_SHIFT = 22


class PostsError(SandboxError):
    """A file of posts cannot be used; the message says why."""


def first_id(moment: datetime) -> int:
    """Return the smallest id of posts made at this moment: ids carry their time in X's epoch."""
    return max(0, int((moment - _EPOCH) / timedelta(milliseconds=1)) << _SHIFT)


def timestamp(moment: datetime) -> str:
    """Return a time as X writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Post:
    """A post: X's JSON as it is served, and when it was published here."""

    id: int
    published: datetime
    data: dict[str, Any]
    matches_all: bool = False


@dataclass
class Script:
    """What a file says: `data` holds posts, X's own form of an answer will do.

    `start` of them are there from the beginning (default: all), then one appears `every` so many
    seconds; with `repeat` they start over. Posts without an id get one when they appear, with the
    other fields that X adds. `matching` is "all" (default: the posts were the answer to a query
    that is not in the file, so they match any) or "text" (the query decides). `includes` has the
    posts' `users`, as in X's own form.
    """

    data: list[dict[str, Any]]
    start: int | None = None
    every: float = 0.0
    repeat: bool = False
    matching: str = "all"
    includes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Script:
        """Read a file; PostsError says what is wrong with it."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise PostsError(f"{path} is no JSON file of posts: {error}") from error
        content = {"data": content} if isinstance(content, list) else content
        if not isinstance(content, dict) or not isinstance(content.get("data"), list):
            raise PostsError(f'{path} holds no posts: it needs {{"data": [post, …]}}')
        for number, entry in enumerate(content["data"]):
            post_id = entry.get("id", "1") if isinstance(entry, dict) else None
            if not (isinstance(post_id, str) and post_id.isdecimal()):
                raise PostsError(f"{path}: post {number} has no id of digits")
        known = {"start", "every", "repeat", "matching", "includes"}
        return cls(content["data"], **{key: content[key] for key in known & content.keys()})


class Posts:
    """All posts published so far. New ones of a script appear when someone looks."""

    def __init__(self, script: Script, now: datetime) -> None:
        self._script = script
        self._posts: dict[int, Post] = {}
        self._last_id = -1
        self._number = 0
        start = len(script.data) if script.start is None else script.start
        self._next_at = now + timedelta(seconds=script.every)
        self._users = {user["id"]: user for user in script.includes.get("users", [])}
        for position in range(start):
            age = timedelta(seconds=max(script.every, 1.0) * (start - position))
            self._publish_next(now - (age if script.every else timedelta(0)))

    def __len__(self) -> int:
        return len(self._posts)

    def __iter__(self) -> Iterator[Post]:
        return iter(self._posts.values())

    def appear(self, now: datetime) -> list[Post]:
        """Publish what is due, forget what X would have forgotten; return what is new."""
        new = []
        while self._script.every and self._next_at <= now:
            post = self._publish_next(self._next_at)
            if post is None:
                break
            new.append(post)
            self._next_at += timedelta(seconds=self._script.every)
        for old in [post for post in self if post.published <= now - MEMORY]:
            self.delete(old.id)
        return new

    def seconds_to_next(self, now: datetime) -> float | None:
        """Return when the script publishes next; None: never."""
        ended = not self._script.repeat and self._number >= len(self._script.data)
        if not self._script.every or ended:
            return None
        return max(0.0, (self._next_at - now) / timedelta(seconds=1))

    def publish(self, entry: dict[str, Any], now: datetime, *, matches_all: bool = False) -> Post:
        """Publish one post; without an id it gets one made of the time, as X's are."""
        data, published = dict(entry), now
        if "id" not in data:
            post_id = str(max(first_id(now), self._last_id + 1))
            made = {"edit_history_tweet_ids": [post_id], "created_at": timestamp(now)}
            data = {"id": post_id, **made, **data}
        elif "created_at" in data:
            published = datetime.fromisoformat(data["created_at"])
        post = Post(int(data["id"]), published, data, matches_all)
        self._posts[post.id] = post
        self._last_id = max(self._last_id, post.id)
        return post

    def users(self, posts: Iterable[Post], fields: set[str]) -> list[dict[str, Any]]:
        """Return the authors of posts, those that no file names under made-up names."""
        ids = dict.fromkeys(str(i) for post in posts if (i := post.data.get("author_id")))
        made = ({"id": i, "name": f"User {i}", "username": f"user{i}"[:15]} for i in ids)
        known = [self._users.get(user["id"], user) for user in made]
        return [{name: v for name, v in user.items() if name in fields} for user in known]

    def find(self, post_id: int) -> Post | None:
        """Return a post by its id; None if there is none."""
        return self._posts.get(post_id)

    def delete(self, post_id: int) -> None:
        """Take a post away, as its author can."""
        self._posts.pop(post_id, None)

    def newest_first(self, above: int, below: int | None) -> list[Post]:
        """Return the posts with ids between the two, exclusive."""
        within = (i for i in self._posts if above < i and (below is None or i < below))
        return [self._posts[post_id] for post_id in sorted(within, reverse=True)]

    def smallest_since_id(self, now: datetime) -> int:
        """Return the lowest id that a search may start after.

        X's limit is 7 days. Recorded posts have older ids but are published when the stand-in
        starts: the limit then lies just below the lowest of them.
        """
        limit = first_id(now - MEMORY)
        return min(limit, min(self._posts, default=limit) - 1)

    def _publish_next(self, now: datetime) -> Post | None:
        script = self._script
        if not script.data or (self._number >= len(script.data) and not script.repeat):
            return None
        entry = script.data[self._number % len(script.data)]
        self._number += 1
        return self.publish(entry, now, matches_all=script.matching == "all")
