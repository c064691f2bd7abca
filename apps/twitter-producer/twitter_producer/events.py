"""Posts as CloudEvents 1.0, in the content modes of the HTTP binding.

Contract: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import HTTPMessage, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from twitter_producer import json_text, snowflake
from twitter_producer.posts import Post

PROBE_TYPE = "com.streamops.probe"
BATCH_TYPE = "application/cloudevents-batch+json; charset=utf-8"


class Unsendable(Exception):
    """An event that has no valid form on the wire; the message says why."""


class _Utf8Format(JSONFormat):
    """The library's format, with a post's characters as they are instead of as escapes."""

    def write(self, event: BaseCloudEvent) -> bytes:
        """Return a whole event."""
        return json_text.encode(as_json(event))

    def write_data(
        self, data: dict[str, Any] | str | bytes | None, datacontenttype: str | None
    ) -> bytes:
        """Return the body of a binary message."""
        if isinstance(data, dict):
            return json_text.encode(data)
        return super().write_data(data, datacontenttype)


class _EscapingFormat(_Utf8Format):
    """A format that has a form for every post; what UTF-8 lacks is escaped."""

    def write_data(
        self, data: dict[str, Any] | str | bytes | None, datacontenttype: str | None
    ) -> bytes:
        """Return the body of a binary message."""
        return json_text.encode_any(data)


_FORMAT = _Utf8Format()
_ESCAPING = _EscapingFormat()


@dataclass(frozen=True)
class EventMaker:
    """Makes events that carry this source and type, and the sink's extensions."""

    source: str
    type: str
    extensions: dict[str, str]

    def post(self, post: Post) -> CloudEvent:
        """Return the event of a post, or of its deletion.

        The id of a post's event is the post's. A deletion is an event of its own, with the post's
        source and, as `subject`, the post's id.
        """
        event_id, source = str(post.id), post.source or self.source
        if not post.deleted:
            return self._event(event_id, self.type, time_of(post), post.data, source)
        return self._event(
            f"{event_id}.deleted",
            f"{self.type}.deleted",
            time_of(post),
            post.data,
            source,
            subject=event_id,
        )

    def probe(self, event_id: str, data: dict[str, Any]) -> CloudEvent:
        """Return an event that takes the same way as the posts and can be told from them."""
        return self._event(event_id, PROBE_TYPE, datetime.now(UTC), data, self.source)

    def refused(self, event: CloudEvent, status: int, reason: str) -> HTTPMessage:
        """Return the message of a dead letter: the extensions are those that Knative uses."""
        attributes = dict(event.get_attributes())
        attributes |= {"knativeerrorcode": str(status), "knativeerrordata": reason}
        return to_binary(CloudEvent(attributes, event.get_data()), _ESCAPING)

    def _event(
        self,
        event_id: str,
        kind: str,
        time: datetime,
        data: dict[str, Any],
        source: str,
        **further: str,
    ) -> CloudEvent:
        attributes = {
            "specversion": "1.0",
            "id": event_id,
            "source": source,
            "type": kind,
            "time": time,
            "datacontenttype": "application/json",
            **further,
            **self.extensions,
        }
        return CloudEvent(attributes, data)


def time_of(post: Post) -> datetime:
    """Return when the post was made: as the network says, else from X's id."""
    if post.time is not None:
        return post.time
    try:
        made = datetime.fromisoformat(post.data["created_at"])
        return made.astimezone(UTC) if made.tzinfo else made.replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        return snowflake.time_of(post.id) if isinstance(post.id, int) else datetime.now(UTC)


def as_json(event: BaseCloudEvent) -> dict[str, Any]:
    """Return an event in the JSON format, as values."""
    attributes = {
        name: value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
        for name, value in event.get_attributes().items()
    }
    return {**attributes, "data": event.get_data()}


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


def message(mode: str, events: Sequence[CloudEvent]) -> HTTPMessage:
    """Return the events as a request in a content mode; Unsendable if they have no such form."""
    try:
        return MODES[mode](events)
    except (ValueError, TypeError, RecursionError) as error:
        raise Unsendable(f"the post cannot be sent: {error}") from error
