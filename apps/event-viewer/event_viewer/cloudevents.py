"""Parser of CloudEvents 1.0 in HTTP requests: binary, structured and batch mode.

Contract: the CloudEvents specification 1.0.2 with its HTTP protocol binding and JSON format. A
request that violates it is refused with a reason for its sender. JSON data is validated but not
re-encoded, so numbers and escapes keep their spelling. All of it runs in time linear in the
request's size.
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

#: Bounds of the context attributes, in characters; the specification sets none.
MAX_ATTRIBUTE_LENGTH = 4096
MAX_NAME_LENGTH = 100
MAX_ATTRIBUTES = 100
#: Characters of a refused value that a message repeats.
MAX_SHOWN = 100
#: Characters of an event's text that are kept for its line in the log.
MAX_TEXT = 100_000


class Invalid(Exception):
    """Request that is not a valid CloudEvent, with the HTTP status and the reason to answer."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


@dataclass(slots=True)
class Event:
    """Valid event; `json` is its structured form in one line of UTF-8, `text` its line in the log."""

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
    """Return the events of a request.

    Args:
        headers: Names in lower case, and values.
        body: The complete body.
        max_batch: Largest number of events in a batch.

    Raises:
        Invalid: The request is not a valid CloudEvent or batch; no event of it is returned.
    """
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


@lru_cache(maxsize=64)
def _content_type(text: str) -> _ContentType:
    media_type = text.partition(";")[0].strip().lower()
    utf8 = _charset(text) in ("", "utf-8", "utf8", "us-ascii")
    if media_type.startswith("application/cloudevents"):
        # The batch type starts with the structured one's name, so it is looked for first.
        batch = media_type.startswith("application/cloudevents-batch")
        expected = f"application/cloudevents{'-batch' if batch else ''}+json"
        if media_type != expected:
            raise Invalid(f"the only supported event format is JSON: use {expected}", 415)
        if not utf8:
            raise Invalid("an event in JSON has to be encoded in UTF-8", 415)
        return _ContentType("batch" if batch else "structured", True, False)
    if text:
        _media_type("Content-Type", text)
    is_json = media_type in ("application/json", "text/json") or media_type.endswith("+json")
    is_text = media_type.startswith("text/") or media_type.endswith(("/xml", "+xml"))
    return _ContentType("binary", is_json and utf8, is_text and utf8)


def _charset(content_type: str) -> str:
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return ""


def _binary(headers: Headers, content_type: str, kind: _ContentType, body: bytes) -> Event:
    attributes: dict[str, Any] = {}
    for header, value in headers:
        if header.startswith(b"ce-"):
            name = header[3:].decode("latin-1")
            if name in attributes:
                raise Invalid(f"there is more than one ce-{name[:MAX_SHOWN]} header")
            attributes[name] = _header_value(name, value)
    if not attributes:
        raise Invalid(
            "not a CloudEvent: neither ce-* headers nor the content type"
            " application/cloudevents+json"
        )
    # Some SDKs send ce-datacontenttype beside Content-Type, which is the one that counts.
    if content_type:
        attributes["datacontenttype"] = content_type
    elif "datacontenttype" in attributes:
        content_type = attributes["datacontenttype"]
        _media_type("datacontenttype", content_type)
        kind = _content_type(content_type)
        if kind.mode != "binary":
            raise Invalid("ce-datacontenttype must not be the content type of an event")
    _check(attributes)
    data, text = _data_member(kind, content_type, body)
    return _event(attributes, _encode(attributes)[:-1] + data + b"}", text)


def _data_member(kind: _ContentType, content_type: str, body: bytes) -> tuple[bytes, str]:
    """Return the JSON member that holds `body`, and its text for the log."""
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
        text[:MAX_TEXT],
    )


# Values


def _header_value(name: str, value: bytes) -> str:
    """Decode a header's value: double quotes, then percent-encoding (HTTP binding 3.1.3.2).

    The binding asks for everything outside of ASCII to be percent-encoded; Knative's own data
    plane sends it as UTF-8, so both are decoded.
    """
    try:
        text = value.decode()
        if text[:1] == '"':
            if not _QUOTED(text):
                raise Invalid(f"ce-{name[:MAX_SHOWN]}: the double quotes are not closed")
            text = _ESCAPED("\\1", text[1:-1])
        if "%" in text:
            text = urllib.parse.unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise Invalid(f"ce-{name[:MAX_SHOWN]}: the value is not valid UTF-8") from None
    return text


def _check(attributes: dict[str, Any]) -> None:
    """Raise Invalid unless these are the context attributes of an event."""
    version = attributes.get("specversion")
    if version != "1.0":
        if version is None:
            raise Invalid("the attribute specversion is missing")
        raise Invalid(f"specversion is {_shown(version)}; only 1.0 is supported")
    for name in ("id", "source", "type"):
        if name not in attributes:
            raise Invalid(f"the attribute {name} is missing")
    if len(attributes) > MAX_ATTRIBUTES:
        raise Invalid(f"{len(attributes)} attributes in an event; at most {MAX_ATTRIBUTES} fit")
    for name, value in attributes.items():
        if type(value) is str and len(value) > MAX_ATTRIBUTE_LENGTH:
            raise Invalid(
                f"{_shown(name)} has {len(value)} characters;"
                f" an attribute has at most {MAX_ATTRIBUTE_LENGTH}"
            )
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
    if len(name) > MAX_NAME_LENGTH or not _NAME(name):
        raise Invalid(
            f"{_shown(name)} is not a valid attribute name:"
            f" 1 to {MAX_NAME_LENGTH} lower-case ASCII letters and digits are allowed"
        )
    if name == "data":
        raise Invalid("an attribute must not be called data")
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
        raise Invalid(f"{name} contains the forbidden character U+{ord(found[0]):04X}")


def _any(_name: str, _value: str) -> None:
    """Accept any string."""


def _source(name: str, value: str) -> None:
    if not _URI_CHARACTERS(value) or _BAD_PERCENT(value):
        raise Invalid(f"{name} {_shown(value)} is not a valid URI reference (RFC 3986)")


def _absolute_uri(name: str, value: str) -> None:
    if not _URI_CHARACTERS(value) or _BAD_PERCENT(value) or not _URI_SCHEME(value):
        raise Invalid(f"{name} {_shown(value)} is not a valid absolute URI (RFC 3986)")


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
        raise Invalid(
            f"{name} {_shown(value)} is not a valid RFC 3339 time, for example 2026-01-31T12:00:00Z"
        ) from None


def _media_type(name: str, value: str) -> None:
    if len(value) > MAX_ATTRIBUTE_LENGTH or not _MEDIA_TYPE(value):
        raise Invalid(f"{name} {_shown(value)} is not a valid media type")


def _shown(value: Any) -> str:
    """Return a value as a message shows it: quoted, and not longer than a line."""
    if not isinstance(value, str):
        return _json_type(value)
    return repr(value if len(value) <= MAX_SHOWN else value[:MAX_SHOWN] + "…")


_HTTP_NAME = r"[A-Za-z0-9!#$%&'*+.^_`|~-]++"
# Possessive quantifiers: nothing that was matched is tried in another way, so time is linear.
_MEDIA_TYPE = re.compile(
    rf"{_HTTP_NAME}/{_HTTP_NAME}"
    rf"(?:[ \t]*+;[ \t]*+(?:{_HTTP_NAME}=(?:{_HTTP_NAME}|\"(?:[^\"\\]|\\.)*+\"))?+)*+[ \t]*+"
).fullmatch
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+"').fullmatch
_ESCAPED = re.compile(r"\\(.)").sub
_NAME = re.compile(r"[a-z0-9]+").fullmatch
_URI_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+").fullmatch
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})").search
_URI_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*+:").match
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:)([0-9]{2})(?:\.[0-9]+)?"
    r"(?:Z|[+-]([0-9]{2}):[0-5][0-9])",
    re.IGNORECASE,
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
    """Return valid JSON without line breaks, which can only be white space between its tokens."""
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
    """Return a line of text for some data: its `text` where it has one, as posts do."""
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
