"""Query parameters, checked as X's OpenAPI document (v2.167) has them.

The newest document says `post.fields` where prose and tweepy say `tweet.fields`: both are taken.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from streamops_sandbox.x.posts import MEMORY, Posts, first_id
from streamops_sandbox.x.problems import invalid, not_modelled

ALWAYS = {"id", "text", "edit_history_tweet_ids", "edit_history_post_ids"}
FIELDS = {
    "article", "article_title", "attachments", "author_id", "card_uri", "community_id", "context_annotations",
    "conversation_id", "created_at", "display_text_range", "edit_controls", "edit_history_tweet_ids",
    "edit_history_post_ids", "entities", "geo", "id", "in_reply_to_user_id", "lang", "matched_media_notes",
    "media_metadata", "non_public_metrics", "note_post", "note_tweet", "note_request_suggestions",
    "organic_metrics", "paid_partnership", "possibly_sensitive", "promoted_metrics", "public_metrics",
    "referenced_posts", "referenced_tweets", "reply_settings", "scopes", "source", "suggested_source_links",
    "suggested_source_links_with_counts", "text", "username", "withheld",
}  # fmt: skip
USER_FIELDS = {
    "confirmed_email", "connection_status", "created_at", "description", "entities", "id", "is_identity_verified",
    "location", "name", "parody", "profile_banner_url", "profile_image_url", "protected", "public_metrics",
    "receives_your_dm", "subscribes_to_you", "subscription", "subscription_type", "url", "username", "verified",
    "verified_followers_count", "verified_type", "withheld",
}  # fmt: skip
POST_FIELDS = ("post.fields", "tweet.fields")
#: Two names of one field: a post is shown with the one that it was published with.
_WHOLE_TEXT = {"note_post", "note_tweet"}
_OTHER_FIELDS = ("expansions", "user.fields", "media.fields", "poll.fields", "place.fields")
SEARCH = {
    "query", "max_results", "next_token", "pagination_token", "start_time", "end_time", "since_id",
    "until_id", "sort_order", *_OTHER_FIELDS,
}  # fmt: skip
STREAM = {"backfill_minutes", "start_time", "end_time", *_OTHER_FIELDS}

_ID = re.compile(r"[0-9]{1,19}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_SETTLING = timedelta(seconds=10)


def known(given: Mapping[str, str], names: Collection[str]) -> None:
    """Raise the 400 for a parameter that X does not know."""
    for name, value in given.items():
        if name not in names:
            listed = ",".join(sorted(names))
            raise invalid(name, value, f"The query parameter [{name}] is not one of [{listed}]")


def post_fields(given: Mapping[str, str]) -> set[str]:
    """Return the fields of a post to show."""
    shown = set(ALWAYS)
    for name in POST_FIELDS:
        if name in given:
            wanted = given[name].split(",")
            for field in wanted:
                if field not in FIELDS:
                    raise invalid(name, field, f"The `{name}` value [{field}] is not valid")
            shown |= set(wanted)
    if given.get("expansions") == "author_id":
        shown.add("author_id")
    if shown & _WHOLE_TEXT:
        shown |= _WHOLE_TEXT
    return shown


def with_authors(given: Mapping[str, str]) -> set[str]:
    """Return the fields of authors to show; none where these are not asked for."""
    wanted = given.get("user.fields", "").split(",") if "user.fields" in given else []
    for field in wanted:
        if field not in USER_FIELDS:
            raise invalid("user.fields", field, f"The `user.fields` value [{field}] is not valid")
    if "expansions" not in given:
        return set()
    if given["expansions"] != "author_id":
        raise not_modelled("expansions but author_id")
    return {"id", "name", "username", *wanted}


@dataclass(frozen=True)
class Search:
    """The bounds of a search: ids exclusive, `start` inclusive, `end` exclusive."""

    above: int
    below: int | None
    start: datetime | None
    end: datetime | None
    size: int

    @classmethod
    def read(cls, given: Mapping[str, str], posts: Posts, now: datetime) -> Search:
        """Check the parameters that bound a search; raises the 400."""
        for pair in (
            ("start_time", "since_id"),
            ("end_time", "until_id"),
            ("pagination_token", "next_token"),
        ):
            if all(name in given for name in pair):
                names = "`, `".join(pair)
                raise invalid(pair[0], given[pair[0]], f"At most one of `{names}` may be provided")
        if given.get("sort_order", "recency") != "recency":
            raise not_modelled("sort_order=relevancy")
        below = _id(given, "until_id")
        token = given.get("next_token") or given.get("pagination_token")
        if token is not None:
            name = "next_token" if "next_token" in given else "pagination_token"
            below = min(_decode(name, token), below or (1 << 63))
        start, end = _start(given, now), _time(given, "end_time")
        if end is not None and end > now - _SETTLING:
            raise invalid(
                "end_time",
                given["end_time"],
                "Invalid 'end_time'. 'end_time' must be a minimum of 10 seconds prior to the request time",
            )
        if start is not None and start >= (end or now - _SETTLING):
            message = "Invalid 'start_time'. It must be earlier than 'end_time' (now - 10 seconds)"
            raise invalid("start_time", given["start_time"], message)
        return cls(_since(given, posts, now), below, start, end, _size(given))


def encode(post_id: int) -> str:
    """Return the token for the page after this post."""
    return base64.b32hexencode(str(post_id).encode()).decode().rstrip("=").lower()


def _decode(name: str, token: str) -> int:
    try:
        padded = token.upper() + "=" * (-len(token) % 8)
        return int(base64.b32hexdecode(padded).decode("ascii"))
    except (binascii.Error, ValueError) as error:
        raise invalid(name, token, f"Invalid '{name}':[{token}]") from error


def _size(given: Mapping[str, str]) -> int:
    text = given.get("max_results", "10")
    if not text.isdecimal() or not 10 <= int(text) <= 100:
        message = f"The `max_results` query parameter value [{text}] is not between 10 and 100"
        raise invalid("max_results", text, message)
    return int(text)


def _id(given: Mapping[str, str], name: str) -> int | None:
    if name not in given:
        return None
    if not _ID.fullmatch(given[name]):
        message = (
            f"The `{name}` query parameter value [{given[name]}] does not match ^[0-9]{{1,19}}$"
        )
        raise invalid(name, given[name], message)
    return int(given[name])


def _since(given: Mapping[str, str], posts: Posts, now: datetime) -> int:
    since = _id(given, "since_id")
    if since is None:
        return -1
    smallest = posts.smallest_since_id(now)
    if since < smallest:
        oldest = (now - MEMORY).strftime("%Y-%m-%dT%H:%MZ")
        raise invalid(
            "since_id",
            given["since_id"],
            f"'since_id' must be a tweet id created after [{oldest}]. "
            f"Please use a 'since_id' that is larger than {smallest}",
        )
    if since > first_id(now + timedelta(hours=1)):
        raise invalid("since_id", given["since_id"], "'since_id' is of the future")
    return since


def _time(given: Mapping[str, str], name: str) -> datetime | None:
    text = given.get(name)
    if text is None:
        return None
    try:
        if not _TIME.fullmatch(text):
            raise ValueError
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError as error:
        message = f"The `{name}` query parameter value [{text}] is not a valid RFC3339 date-time"
        raise invalid(name, text, message) from error


def _start(given: Mapping[str, str], now: datetime) -> datetime | None:
    start = _time(given, "start_time")
    if start is not None and start < now - MEMORY:
        oldest = (now - MEMORY).strftime("%Y-%m-%dT%H:%M:%SZ")
        message = f"Invalid 'start_time'. 'start_time' must be on or after {oldest}"
        raise invalid("start_time", given["start_time"], message)
    return start
