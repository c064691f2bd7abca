"""Bytes to values and back: JSON, and YAML where Kubernetes takes it. Errors are worded as Go's decoders do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import yaml

from streamops_sandbox.kube import errors, protobuf
from streamops_sandbox.kube.kinds.causes import join
from streamops_sandbox.objects import Object

JSON = "application/json"
YAML = "application/yaml"
APPLY_YAML = "application/apply-patch+yaml"
_SUMMARY_BYTES = 30
_SURROGATE = re.compile(rb"(?<!\\)(?:\\\\)*\\u[dD][89a-fA-F]")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML without dates: what looks like one is a text, as in JSON."""


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for first, pairs in _Loader.yaml_implicit_resolvers.items()
}


class ParseError(ValueError):
    """Bytes that are not JSON or YAML; the message is that of Go's parser."""


def loads(data: bytes) -> Any:
    """Return the value of a JSON text; raises ParseError."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ParseError(_go_error(data)) from error


def load_yaml(data: bytes) -> Any:
    """Return the value of a JSON or YAML text; raises ParseError."""
    if _SURROGATE.search(data):  # JSON has such escapes, but the API server reads it as YAML
        raise ParseError("yaml: found invalid Unicode character escape code")
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return yaml.load(data, Loader=_Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line}: " if mark else ""
        raise ParseError(f"yaml: {place}{getattr(error, 'problem', error)}") from error


def _go_error(data: bytes) -> str:
    """Return why a text is not JSON, as encoding/json puts it."""
    try:
        text = data.decode()
        json.loads(text)
    except UnicodeDecodeError:
        return "invalid character 'ï' looking for beginning of value"
    except json.JSONDecodeError as error:
        if error.pos >= len(text):
            return "unexpected end of JSON input"
        char = text[error.pos]
        for literal in ("null", "true", "false"):
            if error.msg == "Expecting value" and char == literal[0]:
                for place, wanted in enumerate(literal):
                    found = text[error.pos + place : error.pos + place + 1]
                    if found != wanted:
                        return f"invalid character {found!r} in literal {literal} (expecting {wanted!r})"
        return (
            f"invalid character {char!r} {_PLACES.get(error.msg, 'looking for beginning of value')}"
        )
    return "invalid JSON"


_PLACES = {
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Expecting ',' delimiter": "after object key:value pair",
    "Expecting ':' delimiter": "after object key",
    "Extra data": "after top-level value",
}


def media_type(header: str) -> str:
    """Return the media type without its parameters, in lower case."""
    return header.split(";", 1)[0].strip().lower()


def decode_object(data: bytes, content_type: str, kind: str) -> tuple[Object, list[str]]:
    """Return a request's object, and what is wrong with it by strict rules: duplicate fields.

    Raises a 400 or 415; `kind` is what the body has to be.
    """
    media = media_type(content_type) or JSON
    if media == protobuf.MEDIA_TYPE:
        return protobuf.decode_object(data), []
    if media not in (JSON, YAML, "application/x-yaml", APPLY_YAML):
        raise errors.unsupported_media_type([JSON, YAML, protobuf.MEDIA_TYPE])
    try:
        value = loads(data) if media == JSON else load_yaml(data)
        value = {} if value is None else value
        if not isinstance(value, dict):
            raise ParseError(cannot_unmarshal(value, f"value of type {_GO_STRUCT}"))
        for key in ("apiVersion", "kind"):
            if not isinstance(value.get(key, ""), str):
                raise ParseError(
                    cannot_unmarshal(value[key], f"struct field .{key} of type string")
                )
        return value, duplicates(data) if media == JSON else _yaml_duplicates(data)
    except ParseError as error:
        why = str(error)
    if not why.startswith("yaml:"):
        why = f"couldn't get version/kind; json parse error: {why}"
    raise errors.bad_request(
        f"the object provided is unrecognized (must be of type {kind}): {why} ({_summary(data)})"
    )


_GO_STRUCT = (
    'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; '
    'Kind string "json:\\"kind,omitempty\\"" }'
)
_GO_TYPES = {dict: "object", list: "array", str: "string", bool: "bool"}


def json_type(value: object) -> str:
    """Return what encoding/json calls the type of a value."""
    return _GO_TYPES.get(type(value), "number")


def cannot_unmarshal(value: object, target: str) -> str:
    """Return that a value has the wrong type for a part of Go's, in encoding/json's words."""
    return f"json: cannot unmarshal {json_type(value)} into Go {target}"


def _summary(data: bytes) -> str:
    if not data:
        return "<empty>"
    end = " ..." if len(data) > _SUMMARY_BYTES else ""
    head = data[:_SUMMARY_BYTES]
    return (head.decode(errors="replace") if head[:1] == b"{" else head.hex()) + end


class _Fields(dict[str, Any]):
    """A JSON object with the fields that it states more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        keys = [key for key, _ in pairs] if len(self) < len(pairs) else []
        self.repeated = [key for index, key in enumerate(keys) if key in keys[:index]]


def duplicates(data: bytes) -> list[str]:
    """Return the fields that a JSON object states more than once."""
    return list(_repeated(json.loads(data, object_pairs_hook=_Fields), ""))


def _repeated(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Fields):
        yield from (f'duplicate field "{join(path, key)}"' for key in value.repeated)
        for key, item in value.items():
            yield from _repeated(item, join(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _repeated(item, f"{path}[{index}]")


def _yaml_duplicates(data: bytes) -> list[str]:
    found: list[str] = []
    waiting = [yaml.compose(data, Loader=_Loader)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if key.value in seen:
                    line = key.start_mark.line + 1
                    found.append(f'line {line}: key "{key.value}" already set in map')
                seen.add(key.value)
                waiting.append(value)
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
    return ["yaml: unmarshal errors:\n  " + "\n  ".join(found)] if found else []


@cache
def data_file(name: str) -> Any:
    """Return the content of one of this package's YAML files, which nobody may change."""
    return yaml.load((Path(__file__).parent / name).read_text(), Loader=_Loader)  # noqa: S506 - a safe loader


def dump_yaml(value: Any) -> bytes:
    """Return a value as YAML."""
    text: str = yaml.safe_dump(value, sort_keys=True)
    return text.encode()
