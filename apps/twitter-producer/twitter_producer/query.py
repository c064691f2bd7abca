"""Builds a query in X's search language and checks X's limits before the first request.

Contract: https://docs.x.com/x-api/posts/search/integrate/build-a-query.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Words that stand for an operator when they are given as an exclude.
KINDS = {"retweets": "is:retweet", "replies": "is:reply", "quotes": "is:quote"}

_PLAIN = re.compile(r"[#@$]?\w+")
_OPERATOR = re.compile(r'([a-z_]+):("[^"]*"|[^\s()"]+)')
#: Operators that can stand alone, and those that only narrow what another one finds.
_STANDALONE = {
    "from", "to", "url", "url_title", "url_description", "url_contains", "retweets_of", "context", "entity",
    "conversation_id", "in_reply_to_tweet_id", "retweets_of_tweet_id", "quotes_of_tweet_id", "place",
    "place_country", "point_radius", "bounding_box", "list", "bio", "bio_name", "bio_location",
}  # fmt: skip
_NARROWING = {
    "is", "has", "lang", "sample", "source", "followers_count", "tweets_count", "following_count", "listed_count",
}  # fmt: skip
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,4})?")
_RESERVED = {"or", "and"}


def build(
    topics: Sequence[str],
    languages: Sequence[str],
    excludes: Sequence[str],
    authors: Sequence[str] = (),
) -> str:
    """Return the query for any topic by any author, in any of the languages, without the excludes.

    X's operators stay operators; an exclude may be written with its minus. Raises ValueError naming
    the value that X's language cannot express there.
    """
    parts = [_any([_topic(topic) for topic in topics])] if topics else []
    if authors:
        parts.append(_any([f"from:{author.removeprefix('@')}" for author in authors]))
    for language in languages:
        if not _LANGUAGE.fullmatch(language):
            raise ValueError(f"{language!r} is not a language code such as en or zh-TW")
    if languages:
        parts.append(_any([f"lang:{language}" for language in languages]))
    parts += ["-" + _exclude(exclude) for exclude in excludes]
    return " ".join(parts)


def check(query: str, max_length: int) -> str:
    """Return the query unchanged; ValueError if X would refuse it."""
    if not query.strip():
        raise ValueError("the query is empty")
    if len(query) > max_length:
        raise ValueError(
            f"the query has {len(query)} characters and X takes {max_length}: "
            "name fewer topics, or raise QUERY_MAX_LENGTH if your access level allows more"
        )
    if query.count('"') % 2:
        raise ValueError('the query has an unpaired "')
    depth = 0
    for character in re.sub(r'"[^"]*"', "", query):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            break
    if depth:
        raise ValueError("the query's parentheses do not match")
    words = re.sub(r'"[^"]*"', "phrase", query).replace("(", " ").replace(")", " ").split()
    if all(word.startswith("-") or word.partition(":")[0] in _NARROWING for word in words):
        raise ValueError("X needs at least one word, phrase or account that has to match")
    return query


def _topic(text: str) -> str:
    if text.startswith("-") and len(text) > 1:
        raise ValueError(f"{text!r} excludes something: name it in EXCLUDES, without the minus")
    operator = _OPERATOR.fullmatch(text)
    if operator and operator[1] in _NARROWING:
        raise ValueError(
            f"{text!r} narrows a search and is not a topic: write the whole query as QUERY, "
            "for example QUERY=knative has:links"
        )
    return _term(text)


def _exclude(text: str) -> str:
    bare = text.removeprefix("-") or text
    return KINDS.get(bare) or _term(bare)


def _term(text: str) -> str:
    operator = _OPERATOR.fullmatch(text)
    if operator and operator[1] in _STANDALONE | _NARROWING:
        return text
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    if '"' in text or "\\" in text or not text.isprintable():
        raise ValueError(f"{text!r} contains a character that X's query language cannot express")
    return f'"{text}"'


def _any(terms: list[str]) -> str:
    return terms[0] if len(terms) == 1 else f"({' OR '.join(terms)})"
