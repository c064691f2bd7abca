"""CloudEvents 1.0 over HTTP: binary and structured mode in, binary mode out.

Implements cloudevents/spec `http-protocol-binding.md` and `json-format.md` for what brokers and
channels need, with the one deviation of sdk-go, which Knative uses: attributes are passed on as
they came, in UTF-8, neither percent-decoded nor percent-encoded. Batched mode is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

REQUIRED = ("id", "source", "specversion", "type")
_NAME = re.compile(r"[a-z0-9]+")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_JSON = re.compile(r"^[^;]*[/+]json\s*(;|$)", re.IGNORECASE)
_STRUCTURED = "application/cloudevents+json"


class InvalidEvent(ValueError):
    """A request or response that does not hold exactly one valid CloudEvent."""


@dataclass
class Event:
    """One event: context attributes (all as strings, `datacontenttype` among them) and its data."""

    attributes: dict[str, str]
    data: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def to_http(self) -> tuple[dict[str, str], bytes]:
        """Return headers and body in binary mode."""
        headers = dict(self.headers)
        for name, value in self.attributes.items():
            if name == "datacontenttype":
                headers["Content-Type"] = value
            else:
                headers[f"ce-{name}"] = value
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
    if media_type.startswith("application/cloudevents-batch"):
        raise InvalidEvent("batched events are not accepted")
    if media_type == _STRUCTURED:
        event = _structured(body)
    elif media_type.startswith("application/cloudevents"):
        raise InvalidEvent(f"event format {media_type} is not supported")
    else:
        event = _binary(headers, content_type, body)
    validate(event)
    return event


def validate(event: Event) -> None:
    """Check the context attributes.

    Raises:
        InvalidEvent: with the first attribute that is missing or malformed.
    """
    for name in REQUIRED:
        if not event.attributes.get(name):
            raise InvalidEvent(f"required attribute {name} is missing")
    if event.attributes["specversion"] != "1.0":
        raise InvalidEvent(f"specversion {event.attributes['specversion']} is not supported")
    for name, value in event.attributes.items():
        if not _NAME.fullmatch(name):
            raise InvalidEvent(f"attribute name {name!r} is not lower-case letters and digits")
        if _CONTROL.search(value):
            raise InvalidEvent(f"attribute {name} holds control characters or is not UTF-8")
    if "time" in event.attributes:
        try:
            stamp = datetime.fromisoformat(event.attributes["time"])
        except ValueError:
            raise InvalidEvent("attribute time is not an RFC 3339 timestamp") from None
        if stamp.tzinfo is None:
            raise InvalidEvent("attribute time has no offset")


def _binary(headers: Mapping[str, str], content_type: str, body: bytes) -> Event:
    attributes = {}
    for key, value in headers.items():
        name = key.lower()
        if name.startswith("ce-"):
            attributes[name[3:]] = value
    if "specversion" not in attributes:
        raise InvalidEvent("not a CloudEvent: no ce-specversion header")
    if content_type:
        attributes["datacontenttype"] = content_type
    return Event(attributes, body)


def _structured(body: bytes) -> Event:
    try:
        document = json.loads(body)
    except ValueError:
        raise InvalidEvent("the body is not JSON") from None
    if not isinstance(document, dict):
        raise InvalidEvent("the body is not a JSON object")
    attributes = {}
    for name, value in document.items():
        if name in ("data", "data_base64") or value is None:
            continue
        if isinstance(value, bool):
            attributes[name] = "true" if value else "false"
        elif isinstance(value, str | int):
            attributes[name] = str(value)
        else:
            raise InvalidEvent(f"attribute {name} is neither string, integer nor boolean")
    return Event(attributes, _data(document, attributes))


def _data(document: dict[str, object], attributes: dict[str, str]) -> bytes:
    if "data" in document and "data_base64" in document:
        raise InvalidEvent("both data and data_base64 are set")
    if "data_base64" in document:
        try:
            return base64.b64decode(str(document["data_base64"]), validate=True)
        except binascii.Error:
            raise InvalidEvent("data_base64 is not base64") from None
    if document.get("data") is None:
        return b""
    attributes.setdefault("datacontenttype", "application/json")
    data = document["data"]
    if isinstance(data, str) and not _JSON.match(attributes["datacontenttype"]):
        return data.encode()
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
