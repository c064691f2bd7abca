"""Posts as they are handed from a source to the delivery."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Post:
    """A post, or the deletion of one.

    `data` is what the network returned, with `text`, `created_at`, `url`, `network` and `author`
    (`name`, `handle`, `url`) beside its own fields where it has other names for them. `source` is
    the event's source where it is not EVENT_SOURCE, `time` when the post was made where `data`
    does not say it.
    """

    id: int | str
    data: dict[str, Any]
    source: str | None = None
    time: datetime | None = None
    deleted: bool = False
