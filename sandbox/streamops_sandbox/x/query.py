"""X's search language: a parser for what the stand-in models, and whether a post matches.

Contract: https://docs.x.com/x-api/posts/search/integrate/build-a-query. Terms next to each other
must all match; OR binds weaker; `-` negates; parentheses group.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from streamops_sandbox.x.problems import invalid, not_modelled

Matcher = Callable[[dict[str, Any]], bool]

_TOKEN = re.compile(r'\s*(-?"[^"]*"|-?\(|\)|[^\s()"]+)')
_OPERATOR = re.compile(r"-?(?P<name>[a-z_]+):(?P<value>.+)")
#: Operators of X that are real but not modelled.
_REAL = {
    "to", "url", "url_title", "url_description", "url_contains", "retweets_of", "in_reply_to_tweet_id",
    "retweets_of_tweet_id", "quotes_of_tweet_id", "context", "entity", "conversation_id", "bio", "bio_name",
    "bio_location", "place", "place_country", "point_radius", "bounding_box", "sample", "list",
    "followers_count", "tweets_count", "following_count", "listed_count", "source", "keyword",
}  # fmt: skip


def parse(query: str, max_length: int) -> Matcher:
    """Return the query as a function of a post; raises the 400 (or 501) Problem."""
    if not query:
        raise invalid("query", query, "The `query` query parameter can not be empty")
    if len(query) > max_length:
        message = f"Rules must be less than or equal to {max_length} characters"
        raise invalid("query", query, f"{message}; this one has {len(query)}")
    if query.count('"') % 2:
        raise _error(query, "unbalanced quotes")
    parser = _Parser(query)
    matcher = parser.alternatives()
    if parser.rest:
        raise _error(query, "unbalanced )")
    if not parser.standalone:
        raise _error(query, "Rules must contain at least one positive, non-stopword clause")
    return matcher


class _Parser:
    """Recursive descent over the query's tokens."""

    def __init__(self, query: str) -> None:
        self._query = query
        self.rest = [match[1] for match in _TOKEN.finditer(query)]
        self.standalone = False

    def alternatives(self) -> Matcher:
        """Parse groups joined by OR."""
        options = [self._all()]
        while self.rest and self.rest[0] == "OR":
            self.rest.pop(0)
            options.append(self._all())
        return lambda post: any(option(post) for option in options)

    def _all(self) -> Matcher:
        terms = []
        while self.rest and self.rest[0] not in ("OR", ")"):
            terms.append(self._term())
        if not terms:
            raise _error(self._query, "a clause is missing")
        return lambda post: all(term(post) for term in terms)

    def _term(self) -> Matcher:
        token = self.rest.pop(0)
        if token in ("(", "-("):
            matcher = self.alternatives()
            if not self.rest or self.rest.pop(0) != ")":
                raise _error(self._query, "unbalanced (")
        else:
            matcher = self._single(token)
        if token.startswith("-"):
            return lambda post: not matcher(post)
        return matcher

    def _single(self, token: str) -> Matcher:
        positive = not token.startswith("-")
        operator = _OPERATOR.fullmatch(token)
        if not operator:
            self.standalone |= positive
            return _contains(token.removeprefix("-").strip('"'))
        name, value = operator["name"], operator["value"]
        if name == "lang":
            return lambda post: post.get("lang") == value
        if name == "from":
            self.standalone |= positive
            return lambda post: value in (post.get("author_id"), post.get("username"))
        kinds = {"retweet": "retweeted", "reply": "replied_to", "quote": "quoted"}
        if name == "is" and value in kinds:
            return lambda post: _refers(post, kinds[value])
        if name == "has" and value == "links":
            return lambda post: "https://" in post.get("text", "")
        if name == "has" and value in ("hashtags", "mentions"):
            sign = {"hashtags": "#", "mentions": "@"}[value]
            return lambda post: re.search(rf"{sign}\w", post.get("text", "")) is not None
        if name in _REAL or name in ("is", "has"):
            raise not_modelled(f"the search operator {name}:{value}")
        raise _error(self._query, f"unknown operator {name}:")


def _error(query: str, reason: str) -> Exception:
    return invalid("query", query, f"There were errors processing your request: {reason}")


def _contains(phrase: str) -> Matcher:
    """Match whole words, whatever their case; a leading # @ or $ has to be there too."""
    pattern = re.compile(r"(?<!\w)" + re.escape(phrase) + r"(?!\w)", re.IGNORECASE)
    return lambda post: pattern.search(post.get("text", "")) is not None


def _refers(post: dict[str, Any], kind: str) -> bool:
    references = post.get("referenced_tweets") or post.get("referenced_posts") or []
    return any(reference.get("type") == kind for reference in references)
