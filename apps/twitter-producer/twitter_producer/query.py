"""Builds a query in X's search language and checks X's limits before the first request.

Contract: https://docs.x.com/x-api/posts/search/integrate/build-a-query.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Words that stand for an operator when they are given as an exclude.
KINDS = {"retweets": "is:retweet", "replies": "is:reply", "quotes": "is:quote"}

_PLAIN = re.compile(r"[#@$]?\w+")
_OPERATOR = re.compile(r"(from|to|url|context|entity|conversation_id|place|list):[^\s()\"]+")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,4})?")
_RESERVED = {"or", "and"}


def build(topics: Sequence[str], languages: Sequence[str], excludes: Sequence[str]) -> str:
    """Return the query that matches any topic, in any of the languages, without the excludes.

    Raises ValueError naming the value that X's language cannot express.
    """
    parts = [_any([_term(topic) for topic in topics])]
    for language in languages:
        if not _LANGUAGE.fullmatch(language):
            raise ValueError(f"{language!r} is not a language code such as en or zh-TW")
    if languages:
        parts.append(_any([f"lang:{language}" for language in languages]))
    parts += ["-" + (KINDS.get(exclude) or _term(exclude)) for exclude in excludes]
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
    if all(word.startswith("-") or word.startswith(("lang:", "is:", "has:")) for word in words):
        raise ValueError("X needs at least one word, phrase or account that has to match")
    return query


def _term(text: str) -> str:
    if _OPERATOR.fullmatch(text):
        return text
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    if '"' in text or "\\" in text or not text.isprintable():
        raise ValueError(f"{text!r} holds a character that X's query language cannot express")
    return f'"{text}"'


def _any(terms: list[str]) -> str:
    return terms[0] if len(terms) == 1 else f"({' OR '.join(terms)})"
