"""CloudEvents 1.0 out of HTTP requests, in binary, structured and batch mode.

Contract: the CloudEvents specification 1.0.2 with its HTTP protocol binding and JSON format. What
it does not allow is refused with a reason fit for whoever sent it. The data is kept as it came:
JSON is checked but never written anew, so numbers and spellings survive.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import re
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

Headers = Iterable[tuple[bytes, bytes]]


class Invalid(Exception):
    """A request that is no valid CloudEvent: the HTTP status it deserves, and the reason."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


@dataclass(slots=True)
class Event:
    """One valid event; `json` is its structured form in one line of UTF-8, `text` for the log."""

    source: str
    id: str
    type: str
    subject: str
    json: bytes
    text: str


class _ContentType(NamedTuple):
    mode: str  # "binary", "structured" or "batch"
    is_json: bool
    is_text: bool


def parse(headers: Headers, body: bytes, max_batch: int) -> list[Event]:
    """The events of a request, whose header names are in lower case; raises Invalid."""
    content_types = [value for name, value in headers if name == b"content-type"]
    if len(content_types) > 1:
        raise Invalid("there is more than one Content-Type header")
    content_type = content_types[0].decode("latin-1") if content_types else ""
    kind = _content_type(content_type)
    if kind.mode == "binary":
        return [_binary(headers, content_type, kind, body)]
    if kind.mode == "structured":
        return [_structured(_decode(body, "the body"), body)]
    return _batch(body, max_batch)


@lru_cache(maxsize=256)
def _content_type(text: str) -> _ContentType:
    media_type, _, parameters = text.partition(";")
    media_type = media_type.strip().lower()
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", parameters, re.IGNORECASE)
    utf8 = charset is None or charset[1].lower() in ("utf-8", "utf8", "us-ascii")
    if media_type.startswith("application/cloudevents"):
        # The batch type starts with the structured one's name, so it is looked for first.
        batch = media_type.startswith("application/cloudevents-batch")
        expected = f"application/cloudevents{'-batch' if batch else ''}+json"
        if media_type != expected:
            raise Invalid(f"no event format but JSON is understood here: use {expected}", 415)
        if not utf8:
            raise Invalid("an event in JSON has to be in UTF-8", 415)
        return _ContentType("batch" if batch else "structured", True, False)
    if text and not _MEDIA_TYPE(text):
        raise Invalid(f"Content-Type {text!r} is no media type")
    is_json = media_type in ("application/json", "text/json") or media_type.endswith("+json")
    is_text = media_type.startswith("text/") or media_type.endswith(("/xml", "+xml"))
    return _ContentType("binary", is_json and utf8, is_text and utf8)


def _binary(headers: Headers, content_type: str, kind: _ContentType, body: bytes) -> Event:
    attributes: dict[str, Any] = {}
    for header, value in headers:
        if header.startswith(b"ce-"):
            name = header[3:].decode("latin-1")
            if name in attributes:
                raise Invalid(f"there is more than one ce-{name} header")
            attributes[name] = _header_value(name, value)
    if not attributes:
        raise Invalid(
            "no CloudEvent: neither ce-* headers nor the content type application/cloudevents+json"
        )
    if "datacontenttype" in attributes:
        raise Invalid("datacontenttype travels as Content-Type, not as a ce- header")
    if content_type:
        attributes["datacontenttype"] = content_type
    _check(attributes)
    data, text = _data_member(kind, content_type, body)
    return _event(attributes, _encode(attributes)[:-1] + data + b"}", text)


def _data_member(kind: _ContentType, content_type: str, body: bytes) -> tuple[bytes, str]:
    """The JSON member that holds `body`, and its text for the log."""
    if not body:
        return b"", ""
    if kind.is_json:
        value = _decode(body, f"the data, by its Content-Type {content_type},")
        return b',"data":' + _one_line(body), summary(value)
    if kind.is_text:
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise Invalid(f"the data is {content_type} but not UTF-8: {error}") from None
        return b',"data":' + _encode(text), text
    if not content_type:
        # The JSON format takes data without datacontenttype for JSON, so only JSON may stand there.
        try:
            value = _decode(body, "the data")
            return b',"data":' + _one_line(body), summary(value)
        except Invalid:
            pass
    encoded = base64.b64encode(body)
    return b',"data_base64":"' + encoded + b'"', f"{len(body)} bytes"


def _structured(members: Any, body: bytes) -> Event:
    if not isinstance(members, dict):
        raise Invalid(f"an event has to be a JSON object, this is {_json_type(members)}")
    attributes = {
        name: value
        for name, value in members.items()
        if value is not None and name not in ("data", "data_base64")
    }
    _check(attributes)
    text = summary(members.get("data"))
    if members.get("data_base64") is not None:
        if members.get("data") is not None:
            raise Invalid("data and data_base64 exclude each other")
        text = f"{_base64_length(members['data_base64'])} bytes"
    return _event(attributes, _one_line(body), text)


def _batch(body: bytes, max_batch: int) -> list[Event]:
    decoded = _decode(body, "the body")
    if not isinstance(decoded, list):
        raise Invalid(f"a batch has to be a JSON array, this is {_json_type(decoded)}")
    if len(decoded) > max_batch:
        raise Invalid(f"{len(decoded)} events in a batch; at most {max_batch} are taken", 413)
    events = []
    for position, (members, raw) in enumerate(zip(decoded, _RAW_LIST.decode(body), strict=True)):
        try:
            events.append(_structured(members, bytes(raw)))
        except Invalid as error:
            raise Invalid(
                f"event {position} of the batch: {error.reason}; none of the batch was taken"
            ) from None
    return events


def _event(attributes: dict[str, Any], json: bytes, text: str) -> Event:
    return Event(
        attributes["source"],
        attributes["id"],
        attributes["type"],
        attributes.get("subject", ""),
        json,
        text,
    )


# Values


def _header_value(name: str, value: bytes) -> str:
    """A header's value: double quotes undone, then percent-decoded once (HTTP binding 3.1.3.2)."""
    try:
        text = value.decode("ascii")
    except UnicodeDecodeError:
        raise Invalid(f"ce-{name}: what is not ASCII has to be percent-encoded") from None
    if text[:1] == '"':
        if not _QUOTED(text):
            raise Invalid(f"ce-{name}: the double quotes are not closed")
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    if "%" in text:
        try:
            text = urllib.parse.unquote_to_bytes(text).decode()
        except UnicodeDecodeError:
            raise Invalid(f"ce-{name}: what is percent-encoded is not UTF-8") from None
    return text


def _check(attributes: dict[str, Any]) -> None:
    """Raise Invalid unless these are the context attributes of an event."""
    version = attributes.get("specversion")
    if version != "1.0":
        if version is None:
            raise Invalid("the attribute specversion is missing")
        raise Invalid(f"specversion is {version!r}; only 1.0 is understood")
    for name in ("id", "source", "type"):
        if name not in attributes:
            raise Invalid(f"the attribute {name} is missing")
    for name, value in attributes.items():
        check = _CHECKS.get(name)
        if check is not None:
            if type(value) is not str:
                raise Invalid(f"{name} has to be a string, this is {_json_type(value)}")
            if not value:
                raise Invalid(f"{name} must not be empty")
            if not (value.isascii() and value.isprintable()):
                _check_characters(name, value)
            check(name, value)
        else:
            _check_extension(name, value)


def _check_extension(name: str, value: Any) -> None:
    if not _NAME(name):
        raise Invalid(
            f"{name!r} is no attribute name: only lower-case ASCII letters and digits are allowed"
        )
    if name == "data":
        raise Invalid("no attribute may be called data")
    if type(value) is str:
        _check_characters(name, value)
    elif type(value) is int:
        if not -(2**31) <= value < 2**31:
            raise Invalid(f"{name}: {value} does not fit an Integer (32 bits)")
    elif type(value) is not bool:
        raise Invalid(
            f"{name} has to be a string, a Boolean or an integer, this is {_json_type(value)}"
        )


def _check_characters(name: str, value: str) -> None:
    found = _FORBIDDEN(value)
    if found:
        raise Invalid(f"{name} holds the forbidden character U+{ord(found[0]):04X}")


def _any(_name: str, _value: str) -> None:
    """Any string will do."""


def _source(name: str, value: str) -> None:
    if not _URI_REFERENCE(value):
        raise Invalid(f"{name} {value!r} is no URI reference (RFC 3986)")


def _absolute_uri(name: str, value: str) -> None:
    if not _URI_REFERENCE(value) or not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", value):
        raise Invalid(f"{name} {value!r} is no absolute URI (RFC 3986)")


def _timestamp(name: str, value: str) -> None:
    match = _TIMESTAMP(value)
    try:
        if match is None:
            raise ValueError
        # 60 is a leap second, which RFC 3339 allows and datetime does not.
        datetime.datetime.fromisoformat(match[1].upper() + match[2].replace("60", "59"))
        if match[3] and int(match[3]) > 23:
            raise ValueError
    except ValueError:
        raise Invalid(f"{name} {value!r} is no RFC 3339 time, like 2026-01-31T12:00:00Z") from None


def _media_type(name: str, value: str) -> None:
    if not _MEDIA_TYPE(value):
        raise Invalid(f"{name} {value!r} is no media type")


_HTTP_NAME = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_MEDIA_TYPE = lru_cache(maxsize=256)(
    re.compile(
        rf'{_HTTP_NAME}/{_HTTP_NAME}(\s*;\s*({_HTTP_NAME}\s*=\s*({_HTTP_NAME}|"([^"\\]|\\.)*"))?)*\s*'
    ).fullmatch
)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"').fullmatch
_NAME = re.compile(r"[a-z0-9]+").fullmatch
_URI_REFERENCE = lru_cache(maxsize=1024)(
    re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+").fullmatch
)
_TIMESTAMP = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:)(\d\d)(?:\.\d+)?(?:Z|[+-](\d\d):[0-5]\d)", re.IGNORECASE
).fullmatch
# Control characters, surrogates and noncharacters (the type String of the specification).
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | 0xFFFE) + chr(plane << 16 | 0xFFFF) for plane in range(17))
    + "]"
).search
_CHECKS: dict[str, Callable[[str, str], None]] = {
    "specversion": _any,
    "id": _any,
    "type": _any,
    "subject": _any,
    "source": _source,
    "dataschema": _absolute_uri,
    "datacontenttype": _media_type,
    "time": _timestamp,
}

# JSON

_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_encode = msgspec.json.encode
_loads = msgspec.json.Decoder().decode


def _decode(body: bytes, what: str) -> Any:
    try:
        return _loads(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"{what} is not JSON: {error}") from None


def _one_line(json: bytes) -> bytes:
    """Valid JSON without line breaks; they can only be white space between its tokens."""
    return json.translate(None, b"\r\n") if b"\n" in json or b"\r" in json else json


def _base64_length(value: Any) -> int:
    if not isinstance(value, str):
        raise Invalid(f"data_base64 has to be a string, this is {_json_type(value)}")
    try:
        return len(base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"data_base64 is not Base64: {error}") from None


def _json_type(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a Boolean"}
    return "null" if value is None else names.get(type(value), "a number")


def summary(data: Any) -> str:
    """What a line of text can say of some data: its `text` where it has one (posts do)."""
    if isinstance(data, str):
        return data
    if data is None:
        return ""
    if isinstance(data, dict):
        text = data.get("text")
        if isinstance(text, str):
            return text
        inner = data.get("data")  # the form of X's API: {"data": {"text": …}}
        if isinstance(inner, dict) and isinstance(inner.get("text"), str):
            return str(inner["text"])
    return _encode(data).decode()
