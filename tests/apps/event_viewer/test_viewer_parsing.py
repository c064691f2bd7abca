"""Properties of the receiver's parser: what goes in comes out, in all three modes."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.growth import is_linear

from event_viewer.cloudevents import Event, Invalid, parse

# What the type String allows: no control characters, surrogates or noncharacters.
characters = st.characters(exclude_categories=("Cc", "Cs", "Cn"))
strings = st.text(characters, min_size=1, max_size=40)
uri_references = st.text(
    st.sampled_from("abcXYZ019-._~:/?#[]@!$&'()*+,;="), min_size=1, max_size=40
)
names = st.text(
    st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789"), min_size=1, max_size=20
).filter(lambda name: name not in RESERVED)
RESERVED = {
    "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema",
    "data",
}  # fmt: skip
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abé"), inner, max_size=4),
    max_leaves=12,
)
times = st.datetimes(timezones=st.timezones()).map(
    lambda moment: moment.replace(microsecond=0, tzinfo=None).isoformat() + "Z"
)


@st.composite
def attributes(draw: st.DrawFn, extension_values: st.SearchStrategy[Any]) -> dict[str, Any]:
    event = {
        "specversion": "1.0",
        "id": draw(strings),
        "source": draw(uri_references),
        "type": draw(strings),
    }
    if draw(st.booleans()):
        event["subject"] = draw(strings)
    if draw(st.booleans()):
        event["time"] = draw(times)
    return {**event, **draw(st.dictionaries(names, extension_values, max_size=3))}


any_extension = st.text(characters, max_size=20) | st.booleans() | st.integers(-(2**31), 2**31 - 1)


def headers_of(event: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    """Attributes as the binding asks a sender to encode them."""
    return [
        (f"ce-{name}".encode(), urllib.parse.quote(value, safe="!#$&'()*+,/:;=?@[]").encode())
        for name, value in event.items()
    ]


def refused(headers: list[tuple[bytes, bytes]], body: bytes) -> Invalid | None:
    try:
        parse(headers, body, 10)
    except Invalid as error:
        return error
    return None


def only(events: list[Event]) -> dict[str, Any]:
    (event,) = events
    assert b"\n" not in event.json
    decoded: dict[str, Any] = json.loads(event.json)
    assert (event.id, event.source, event.type) == (
        decoded["id"],
        decoded["source"],
        decoded["type"],
    )
    return decoded


@given(attributes(strings), json_values)
def test_binary_json_round_trip(event: dict[str, Any], data: Any) -> None:
    body = json.dumps(data).encode()
    sent = [*headers_of(event), (b"content-type", b"application/json")]
    received = only(parse(sent, body, 10))
    assert received.pop("data") == data
    assert received == {**event, "datacontenttype": "application/json"}


@given(attributes(strings), st.binary(min_size=1))
def test_binary_bytes_round_trip(event: dict[str, Any], data: bytes) -> None:
    sent = [*headers_of(event), (b"content-type", b"application/octet-stream")]
    received = only(parse(sent, data, 10))
    assert base64.b64decode(received["data_base64"]) == data


@given(attributes(strings), st.text(st.characters(exclude_categories=("Cs",)), min_size=1))
def test_binary_text_round_trip(event: dict[str, Any], data: str) -> None:
    sent = [*headers_of(event), (b"content-type", b"text/plain; charset=utf-8")]
    assert only(parse(sent, data.encode(), 10))["data"] == data


@given(attributes(any_extension), json_values, st.sampled_from([None, 2]), st.booleans())
def test_structured_round_trip(
    event: dict[str, Any], data: Any, indent: int | None, ascii_only: bool
) -> None:
    sent = {**event, "data": data}
    body = json.dumps(sent, indent=indent, ensure_ascii=ascii_only).encode()
    assert only(parse([(b"content-type", b"application/cloudevents+json")], body, 10)) == sent


@given(st.lists(attributes(any_extension), max_size=5), st.sampled_from([None, 2]))
def test_batch_round_trip(events: list[dict[str, Any]], indent: int | None) -> None:
    body = json.dumps(events, indent=indent).encode()
    received = parse([(b"content-type", b"Application/CloudEvents-Batch+JSON")], body, 10)
    assert [json.loads(event.json) for event in received] == events


@given(st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=20)), max_size=6), st.binary())
@settings(max_examples=300)
def test_anything_else_is_refused_with_a_reason(
    headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    refusal = refused([(b"ce-" + name.lower(), value) for name, value in headers], body)
    assert refusal is None or (refusal.reason and refusal.status in (400, 413, 415))


@given(st.binary(), st.sampled_from([b"", b"-batch"]))
def test_any_bytes_as_json_are_taken_or_refused(body: bytes, mode: bytes) -> None:
    refusal = refused([(b"content-type", b"application/cloudevents" + mode + b"+json")], body)
    assert refusal is None or refusal.reason


VALID = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"specversion": None}, "specversion is missing"),
        ({"specversion": "0.3"}, "only 1.0"),
        ({"id": None}, "id is missing"),
        ({"id": ""}, "id must not be empty"),
        ({"id": 7}, "id has to be a string, this is a number"),
        ({"source": None}, "source is missing"),
        ({"source": "has space"}, "not a valid URI reference"),
        ({"source": "%zz"}, "not a valid URI reference"),
        ({"type": None}, "type is missing"),
        ({"type": "a\nb"}, "U+000A"),
        ({"subject": ""}, "subject must not be empty"),
        ({"time": "yesterday"}, "RFC 3339"),
        ({"time": "2020-02-30T00:00:00Z"}, "RFC 3339"),
        ({"time": "2020-01-01T00:00:00"}, "RFC 3339"),
        ({"dataschema": "relative"}, "not a valid absolute URI"),
        ({"datacontenttype": "json"}, "not a valid media type"),
        ({"datacontenttype": "a/b" + ";" * 50 + " x"}, "not a valid media type"),
        ({"time": ""}, "time must not be empty"),
        ({"CamelCase": "x"}, "not a valid attribute name"),
        ({"with-dash": "x"}, "not a valid attribute name"),
        ({"n" * 101: "x"}, "not a valid attribute name"),
        ({"source": "/" * 4097}, "4097 characters"),
        ({"ext": "x" * 1_000_000}, "at most 4096"),
        ({f"n{number}": "x" for number in range(97)}, "at most 100"),
        ({"ext": 1.5}, "a number"),
        ({"ext": 2**31}, "32 bits"),
        ({"ext": {"a": 1}}, "an object"),
        ({"ext": "￾"}, "U+FFFE"),
        ({"data_base64": "???"}, "Base64"),
        ({"data_base64": 7}, "has to be a string"),
        ({"data": 1, "data_base64": "AA=="}, "exclude each other"),
    ],
)
def test_structured_is_strict(change: dict[str, Any], reason: str) -> None:
    event = {k: v for k, v in {**VALID, **change}.items() if v is not None}
    with pytest.raises(Invalid) as caught:
        parse([(b"content-type", b"application/cloudevents+json")], json.dumps(event).encode(), 10)
    assert reason in caught.value.reason


HEADERS = [(b"ce-" + name.encode(), value.encode()) for name, value in VALID.items()]


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        ([(b"ce-id", b"2")], b"", "more than one ce-id"),
        ([(b"ce-subject", b"caf\xe9")], b"", "not valid UTF-8"),
        ([(b"ce-subject", b"%C3%28")], b"", "not valid UTF-8"),
        ([(b"ce-subject", b"\xc2\x85")], b"", "U+0085"),
        ([(b"ce-subject", b"%00")], b"", "U+0000"),
        ([(b"ce-subject", b'"open')], b"", "double quotes"),
        ([(b"ce-foo_bar", b"1")], b"", "not a valid attribute name"),
        ([(b"ce-data", b"1")], b"", "must not be called data"),
        ([(b"ce-datacontenttype", b"nonsense")], b"", "not a valid media type"),
        ([(b"ce-datacontenttype", b"application/cloudevents+json")], b"", "ce-datacontenttype"),
        ([(b"content-type", b"nonsense")], b"", "not a valid media type"),
        ([(b"content-type", b"text/plain"), (b"content-type", b"text/html")], b"", "more than one"),
        ([(b"content-type", b"application/json")], b"{'a': 1}", "is not JSON"),
        ([(b"content-type", b"application/json")], b'{"a": "\xff"}', "is not JSON"),
        ([(b"content-type", b"text/plain")], b"\xff", "not UTF-8"),
        ([(b"content-type", b"application/cloudevents+avro")], b"", "use application/cloudevents"),
        ([(b"content-type", b"application/cloudevents+json; charset=utf-16")], b"", "UTF-8"),
    ],
)
def test_binary_is_strict(headers: list[tuple[bytes, bytes]], body: bytes, reason: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse([*HEADERS, *headers], body, 10)
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    ("value", "decoded"),
    [
        (b"Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),  # the binding's own example
        (b'"a \\"quoted\\" text"', 'a "quoted" text'),
        ("café €".encode(), "café €"),  # as Knative's data plane writes it
        ("café%20€".encode(), "café €"),
        (b"100%", "100%"),
        (b"100%25", "100%"),
        (b"%2525", "%25"),
    ],
)
def test_header_values_are_decoded_once(value: bytes, decoded: str) -> None:
    assert only(parse([*HEADERS, (b"ce-subject", value)], b"", 1))["subject"] == decoded


@pytest.mark.parametrize("content_type", [b"", b"application/json"])
def test_datacontenttype_as_a_header_of_its_own(content_type: bytes) -> None:
    """Some SDKs send it beside Content-Type or instead of it."""
    headers = [*HEADERS, (b"ce-datacontenttype", b"application/json")]
    if content_type:
        headers.append((b"content-type", content_type))
    event = only(parse(headers, b'{"a": 1}', 1))
    assert (event["datacontenttype"], event["data"]) == ("application/json", {"a": 1})


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain;charset=utf-8",
        'text/plain ; a="b;\\"c" ; ;d=e ',
        "application/vnd.x+json; version=1.0;",
    ],
)
def test_media_types(media_type: str) -> None:
    event = {**VALID, "datacontenttype": media_type}
    headers = [(b"content-type", b"application/cloudevents+json")]
    assert only(parse(headers, json.dumps(event).encode(), 1)) == event


def structured(**members: Any) -> Callable[[], object]:
    body = json.dumps({**VALID, **members}).encode()
    return lambda: refused([(b"content-type", b"application/cloudevents+json")], body)


def binary(name: bytes, value: bytes, body: bytes = b"") -> Callable[[], object]:
    return lambda: refused([*HEADERS, (name, value)], body)


def as_json(body: bytes) -> Callable[[], object]:
    return lambda: refused([(b"content-type", b"application/cloudevents+json")], body)


@pytest.mark.parametrize(
    "make",
    [
        # Media types, past the limit of length and below it
        lambda n: binary(b"content-type", b"a/b;" + b" " * n + b"x y"),
        lambda n: binary(b"content-type", b"a/b" + b"; " * n + b"@"),
        lambda n: binary(b"content-type", b"a/b;a=" * n),
        lambda n: binary(b"content-type", b"a/b" + b';a="' * n),
        lambda n: lambda: [_media_type_of(b"a/b;" + b" " * 4000 + b"x y") for _ in range(n // 4000)],
        lambda n: lambda: [_media_type_of(b"a/b" + b"; " * 2000 + b"@") for _ in range(n // 4000)],
        lambda n: structured(datacontenttype="a/b" + ";\t" * n + "@"),
        lambda n: structured(datacontenttype="a/b;a=" + "b" * n + "@"),
        # Headers
        lambda n: binary(b"ce-subject", b'"' + b"\\a" * n),
        lambda n: binary(b"ce-subject", b"%41" * n),
        lambda n: binary(b"ce-source", b"%4" * n),
        lambda n: binary(b"ce-time", b"2020-01-01T00:00:00." + b"1" * n),
        lambda n: binary(b"ce-" + b"n" * n, b"1"),
        # Bodies
        lambda n: structured(source="a%" * n),
        lambda n: structured(time="2020-01-01T00:00:00." + "1" * n + "Z"),
        lambda n: structured(dataschema="a" * n + " "),
        lambda n: structured(**{"n" * n: 1}),
        lambda n: structured(data_base64="A" * n),
        lambda n: as_json(b"9" * n),
        lambda n: as_json(b"[" + b"1," * n + b"1]"),
        lambda n: as_json(b"[" * n),
        lambda n: as_json(b'"' + b"\\u00e9" * n + b'"'),
        lambda n: binary(b"content-type", b"application/json", b"[" + b"\n" * n + b"]"),
    ],
)  # fmt: skip
def test_time_grows_with_the_size(make: Callable[[int], Callable[[], object]]) -> None:
    assert is_linear(make)


def _media_type_of(value: bytes) -> object:
    return refused([*HEADERS, (b"content-type", value)], b"")


def test_structured_wins_over_headers() -> None:
    body = json.dumps({**VALID, "id": "body"}).encode()
    headers = [*HEADERS, (b"content-type", b"application/cloudevents+json; charset=UTF-8")]
    assert only(parse(headers, body, 1))["id"] == "body"


def test_json_data_is_kept_as_it_was_spelled() -> None:
    body = b'{"big": 123456789012345678901234567890,\r\n "n": 1.10, "e": "\\u00e9"}'
    (event,) = parse([*HEADERS, (b"content-type", b"application/vnd.x+json")], body, 1)
    assert event.json.endswith(b'"data":' + body.replace(b"\r\n", b"") + b"}")


def test_null_means_left_out() -> None:
    body = json.dumps({**VALID, "subject": None, "ext": None}).encode()
    (event,) = parse([(b"content-type", b"application/cloudevents+json")], body, 1)
    assert event.subject == ""


def test_a_batch_is_taken_or_refused_as_a_whole() -> None:
    body = json.dumps([VALID, {**VALID, "id": ""}]).encode()
    with pytest.raises(Invalid, match="event 1 of the batch"):
        parse([(b"content-type", b"application/cloudevents-batch+json")], body, 10)


def test_a_batch_has_a_limit() -> None:
    body = json.dumps([VALID] * 11).encode()
    with pytest.raises(Invalid) as caught:
        parse([(b"content-type", b"application/cloudevents-batch+json")], body, 10)
    assert caught.value.status == 413
