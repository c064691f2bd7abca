"""Posts as CloudEvents 1.0, in the content modes of the HTTP binding.

Contract: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cloudevents.core.bindings.http import HTTPMessage, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from twitter_producer import snowflake
from twitter_producer.progress import Post

PROBE_TYPE = "com.streamops.probe"
BATCH_TYPE = "application/cloudevents-batch+json; charset=utf-8"


class _Utf8Format(JSONFormat):
    """The library's format, with a post's characters as they are instead of as escapes."""

    def write_data(
        self, data: dict[str, Any] | str | bytes | None, datacontenttype: str | None
    ) -> bytes:
        """Return the body of a binary message."""
        if isinstance(data, dict):
            return json.dumps(data, ensure_ascii=False).encode()
        return super().write_data(data, datacontenttype)


_FORMAT = _Utf8Format()


@dataclass(frozen=True)
class EventMaker:
    """Makes events that carry this source and type, and the sink's extensions."""

    source: str
    type: str
    extensions: dict[str, str]

    def post(self, post: Post) -> CloudEvent:
        """Return the event of a post: its id is the post's, its data the post as X gave it."""
        return self._event(str(post.id), self.type, time_of(post), post.data)

    def probe(self, event_id: str, data: dict[str, Any]) -> CloudEvent:
        """Return an event that takes the same way as the posts and can be told from them."""
        return self._event(event_id, PROBE_TYPE, datetime.now(UTC), data)

    def refused(self, event: CloudEvent, status: int, reason: str) -> CloudEvent:
        """Return the event with the extensions by which Knative marks a dead letter."""
        attributes = dict(event.get_attributes())
        attributes |= {"knativeerrorcode": str(status), "knativeerrordata": reason}
        return CloudEvent(attributes, event.get_data())

    def _event(self, event_id: str, kind: str, time: datetime, data: dict[str, Any]) -> CloudEvent:
        attributes = {
            "specversion": "1.0",
            "id": event_id,
            "source": self.source,
            "type": kind,
            "time": time,
            "datacontenttype": "application/json",
            **self.extensions,
        }
        return CloudEvent(attributes, data)


def time_of(post: Post) -> datetime:
    """Return when the post was made: as X says, else from its id."""
    try:
        made = datetime.fromisoformat(post.data["created_at"])
        return made if made.tzinfo else made.replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError):
        return snowflake.time_of(post.id)


def binary(events: Sequence[CloudEvent]) -> HTTPMessage:
    """Return one event with its attributes as headers and its data as body."""
    return to_binary(events[0], _FORMAT)


def structured(events: Sequence[CloudEvent]) -> HTTPMessage:
    """Return one event as a whole in the body."""
    return to_structured(events[0], _FORMAT)


def batch(events: Sequence[CloudEvent]) -> HTTPMessage:
    """Return several events in one body."""
    body = b"[" + b",".join(_FORMAT.write(event) for event in events) + b"]"
    return HTTPMessage({"content-type": BATCH_TYPE}, body)


MODES = {"binary": binary, "structured": structured, "batch": batch}
