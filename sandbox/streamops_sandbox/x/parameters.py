"""Query parameters, checked and read as parameters.yaml has them, and the bounds of a search."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from streamops_sandbox.x.posts import MEMORY, Posts, first_id
from streamops_sandbox.x.problems import invalid, not_modelled

_ENDPOINTS: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load(
    (Path(__file__).parent / "parameters.yaml").read_text(encoding="utf-8")
)
Bounds = tuple[int, int | None, datetime | None, datetime | None]
POST_FIELDS = ("post.fields", "tweet.fields")
_ALWAYS = {"id", "text", "edit_history_tweet_ids", "edit_history_post_ids"}
#: Two names of one field: a post is shown with the one that it was published with.
_WHOLE_TEXT = {"note_post", "note_tweet"}

_ID = re.compile(r"[0-9]{1,19}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_SETTLING = timedelta(seconds=10)


def read(endpoint: str, query: Mapping[str, str], refused: Collection[str] = ()) -> dict[str, Any]:
    """Return the parameters of a request by their names; `refused` are not taken either.

    Raises:
        Problem: 400 for what X refuses, 501 for what the stand-in does not model.
    """
    rules = {name: rule for name, rule in _ENDPOINTS[endpoint].items() if name not in refused}
    for name, text in query.items():
        if name not in rules:
            message = f"The query parameter [{name}] is not one of [{','.join(sorted(rules))}]"
            raise invalid(name, text, message)
        if (other := rules[name].get("without")) in query:
            raise invalid(name, text, f"At most one of `{name}`, `{other}` may be provided")
    for name, rule in rules.items():
        if rule.get("required") and name not in query:
            raise invalid(name, "", f"The `{name}` query parameter is required")
    return {name: _value(name, text, rules[name]) for name, text in query.items()}


def shown(given: Mapping[str, Any]) -> set[str]:
    """Return the fields of a post to show."""
    found = _ALWAYS.union(*(given.get(name, ()) for name in POST_FIELDS))
    if "expansions" in given:
        found.add("author_id")
    return found | _WHOLE_TEXT if found & _WHOLE_TEXT else found


def of_authors(given: Mapping[str, Any]) -> set[str]:
    """Return the fields of authors to show; none where these are not asked for."""
    fields = given.get("user.fields", ())
    return {"id", "name", "username", *fields} if "expansions" in given else set()


def bounds(given: Mapping[str, Any], posts: Posts, now: datetime) -> Bounds:
    """Return the lowest and the highest id (exclusive), the start (inclusive) and the end (exclusive).

    Raises the 400 for parameters that bound a search otherwise than X allows.
    """
    names = ("until_id", "next_token", "pagination_token")
    limits = [given[name] for name in names if name in given]
    start, end, since = (given.get(name) for name in ("start_time", "end_time", "since_id"))
    latest, oldest = now - _SETTLING, now - MEMORY
    if end is not None and end > latest:
        raise invalid(
            "end_time",
            end.isoformat(),
            "Invalid 'end_time'. 'end_time' must be a minimum of 10 seconds prior to the request time",
        )
    if start is not None and not oldest <= start < (end or latest):
        message = (
            f"Invalid 'start_time'. 'start_time' must be on or after {oldest:%Y-%m-%dT%H:%M:%SZ}"
            " and earlier than 'end_time' (now - 10 seconds)"
        )
        raise invalid("start_time", start.isoformat(), message)
    if since is not None and since < (smallest := posts.smallest_since_id(now)):
        message = (
            f"'since_id' must be a tweet id created after [{oldest:%Y-%m-%dT%H:%MZ}]. "
            f"Please use a 'since_id' that is larger than {smallest}"
        )
        raise invalid("since_id", str(since), message)
    if since is not None and since > first_id(now + timedelta(hours=1)):
        raise invalid("since_id", str(since), "'since_id' is of the future")
    return -1 if since is None else since, min(limits, default=None), start, end


def encode(post_id: int) -> str:
    """Return the token for the page after this post."""
    return base64.b32hexencode(str(post_id).encode()).decode().rstrip("=").lower()


def _value(name: str, text: str, rule: Mapping[str, Any]) -> Any:
    if text not in rule.get("only", [text]):
        raise not_modelled(f"{name}={text}")
    for value in text.split(",") if "values" in rule else ():
        if value not in rule["values"]:
            raise invalid(name, value, f"The `{name}` value [{value}] is not valid")
    if "values" in rule:
        return text.split(",")
    convert, complaint = _READ.get(rule.get("is", ""), (str, ""))
    try:
        return convert(text)
    except ValueError as error:
        raise invalid(name, text, complaint.format(name=name, text=text)) from error


def _size(text: str) -> int:
    if not 10 <= int(text) <= 100:
        raise ValueError(text)
    return int(text)


def _id(text: str) -> int:
    if not _ID.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _time(text: str) -> datetime:
    if not _TIME.fullmatch(text):
        raise ValueError(text)
    return datetime.fromisoformat(text).astimezone(UTC)


def _token(text: str) -> int:
    return int(base64.b32hexdecode(text.upper() + "=" * (-len(text) % 8)).decode("ascii"))


_VALUE = "The `{name}` query parameter value [{text}] "
#: How a value is read, and what X says of one that is not of this form.
_READ: dict[str, tuple[Callable[[str], Any], str]] = {
    "size": (_size, _VALUE + "is not between 10 and 100"),
    "id": (_id, _VALUE + "does not match ^[0-9]{{1,19}}$"),
    "time": (_time, _VALUE + "is not a valid RFC3339 date-time"),
    "token": (_token, "Invalid '{name}':[{text}]"),
}
