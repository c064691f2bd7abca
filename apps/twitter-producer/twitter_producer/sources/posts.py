"""Posts out of X's answers."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from twitter_producer.metrics import Metrics
from twitter_producer.progress import Post

log = logging.getLogger(__name__)


def posts(entries: Iterable[Any], metrics: Metrics) -> list[Post]:
    """Return the posts with a usable id.

    A post without text (withheld, or media only) is delivered as it is; an entry without id cannot
    be told from others, nor acknowledged: it is logged and left out.
    """
    found = []
    for entry in entries:
        post_id = entry.get("id") if isinstance(entry, dict) else None
        if not (isinstance(post_id, str) and post_id.isascii() and post_id.isdecimal()):
            log.error("X returned a post without a usable id", extra={"entry": str(entry)[:300]})
            continue
        if not entry.get("text"):
            metrics.without_text.inc()
            log.warning("a post has no text; it is delivered as it is", extra={"id": post_id})
        found.append(Post(int(post_id), entry))
    metrics.posts.inc(len(found))
    return found
