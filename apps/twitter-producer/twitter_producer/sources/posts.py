"""Posts out of X's answers."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Any

from twitter_producer import json_text
from twitter_producer.http_answers import printable
from twitter_producer.metrics import Metrics
from twitter_producer.progress import XPost

log = logging.getLogger(__name__)

_ID = re.compile(r"[0-9]{1,19}")
_LARGEST_ID = (1 << 63) - 1


def posts(entries: Iterable[Any], metrics: Metrics) -> list[XPost]:
    """Return the posts with a usable id.

    A post without text (withheld, or media only) is delivered as it is; an entry without id cannot
    be distinguished from others, nor acknowledged: it is logged and left out.
    """
    found = []
    for entry in entries:
        post_id = _id(entry)
        if post_id is None:
            shown = printable(json_text.encode_any(entry).decode())
            log.error("X returned a post without a usable id", extra={"entry": shown})
            continue
        if not entry.get("text"):
            metrics.without_text.inc()
            log.warning("a post has no text; it is delivered as it is", extra={"id": str(post_id)})
        found.append(XPost(post_id, entry))
    metrics.posts.inc(len(found))
    return found


def _id(entry: Any) -> int | None:
    text = entry.get("id") if isinstance(entry, dict) else None
    if not isinstance(text, str) or not _ID.fullmatch(text):
        return None
    post_id = int(text)
    return post_id if post_id <= _LARGEST_ID else None
