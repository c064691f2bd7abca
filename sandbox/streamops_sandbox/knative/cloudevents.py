"""CloudEvents 1.0 over HTTP: binary and structured mode in, binary mode out.

Implements cloudevents/spec `http-protocol-binding.md` and `json-format.md` for what brokers and
channels need, with the one deviation of sdk-go, which Knative uses: attributes are passed on as
they came, in UTF-8, neither percent-decoded nor percent-encoded. Batched mode is refused.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

REQUIRED = ("id", "source", "specversion", "type")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NAME = re.compile(r"[a-z0-9]+")
_JSON = re.compile(r"^[^;]*[/+]json\s*(;|$)", re.IGNORECASE)
_STRUCTURED = "application/cloudevents+json"


class InvalidEvent(ValueError):
    """A request or response that does not hold exactly one valid CloudEvent."""


@dataclass
class Event:
    """One event: context attributes (all as strings, `datacontenttype` among them) and its data."""

    attributes: dict[str, str]
    data: bytes = b""

    def to_http(self) -> tuple[dict[str, str], bytes]:
        """Return headers and body in binary mode."""
        headers = {f"ce-{name}": value for name, value in self.attributes.items()}
        if (content_type := headers.pop("ce-datacontenttype", None)) is not None:
            headers["Content-Type"] = content_type
        return headers, self.data


def is_event(headers: Mapping[str, str]) -> bool:
    """Tell whether the headers announce a CloudEvent in any mode."""
    kind = headers.get("Content-Type", "").lower()
    return kind.startswith("application/cloudevents") or "ce-specversion" in headers


def parse(headers: Mapping[str, str], body: bytes) -> Event:
    """Read the event of an HTTP message; headers are matched without regard to case.

    Raises:
        InvalidEvent: naming what is wrong with it.
    """
    content_type = headers.get("Content-Type", "")
    media_type = content_type.split(";")[0].strip().lower()
    if media_type == _STRUCTURED:
        event = _structured(body)
    elif media_type.startswith("application/cloudevents"):
        raise InvalidEvent(f"{media_type} is not supported")
    else:
        attributes = {k[3:].lower(): v for k, v in headers.items() if k.lower().startswith("ce-")}
        if content_type:
            attributes["datacontenttype"] = content_type
        event = Event(attributes, body)
    for name in REQUIRED:
        if not event.attributes.get(name):
            raise InvalidEvent(f"required attribute {name} is missing")
    try:
        datetime.fromisoformat(event.attributes.get("time", "1970-01-01T00:00:00Z"))
    except ValueError:
        raise InvalidEvent("attribute time is not an RFC 3339 timestamp") from None
    if event.attributes["specversion"] != "1.0":
        raise InvalidEvent(f"specversion {event.attributes['specversion']} is not supported")
    for name, value in event.attributes.items():
        if not _NAME.fullmatch(name):
            raise InvalidEvent(f"attribute name {name!r} is not lower-case letters and digits")
        if _CONTROL.search(value):
            raise InvalidEvent(f"attribute {name} holds control characters or is not UTF-8")
    return event


def _structured(body: bytes) -> Event:
    try:
        document = dict(json.loads(body))
        encoded = document.pop("data_base64", None)
        data = base64.b64decode(encoded or "", validate=True)
    except (TypeError, ValueError):
        raise InvalidEvent("the body is not an event in JSON") from None
    content = document.pop("data", None)
    attributes = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in document.items()
        if value is not None
    }
    if content is not None:
        kind = attributes.setdefault("datacontenttype", "application/json")
        is_text = isinstance(content, str) and not _JSON.match(kind)
        data = (content if is_text else json.dumps(content, ensure_ascii=False)).encode()
    return Event(attributes, data)
