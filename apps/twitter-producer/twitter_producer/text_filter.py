"""Which posts are wanted, where the network itself does not filter."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

#: Excludes that stand for kinds of posts, not for words; the source knows them by other means.
KINDS = ("retweets", "replies", "quotes")


@dataclass(frozen=True)
class TextFilter:
    """Any of the topics, none of the excludes, in one of the languages; empty: all.

    Words and phrases are compared without regard to case, as whole words, in linear time.
    """

    topics: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    _wanted: re.Pattern[str] | None = field(init=False, repr=False)
    _unwanted: re.Pattern[str] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_wanted", _words(self.topics))
        words = tuple(word for word in self.excludes if word not in KINDS)
        object.__setattr__(self, "_unwanted", _words(words))

    def matches(self, text: str, languages: Iterable[object] = ()) -> bool:
        """Return whether a post with this text in these languages is wanted."""
        if self.languages and not any(
            isinstance(given, str) and given.partition("-")[0].lower() in self.languages
            for given in languages
        ):
            return False
        if self._wanted is not None and not self._wanted.search(text):
            return False
        return self._unwanted is None or not self._unwanted.search(text)


def _words(words: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return a pattern that finds any of the words; it has no repetition, so it is linear."""
    if not words:
        return None
    return re.compile(rf"(?<!\w)(?:{'|'.join(re.escape(word) for word in words)})(?!\w)", re.I)
