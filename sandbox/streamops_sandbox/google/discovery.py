"""Google's discovery documents: which methods exist, and what a request to one may hold.

The documents are those that google-api-python-client bundles
(https://developers.google.com/discovery/v1/reference/apis). Descriptions are dropped while parsing
and equal fields are shared, so that the nine documents take about 3 MB instead of 15.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from googleapiclient.discovery_cache import get_static_doc

from .errors import bad_request, not_modelled

#: (name, version) of every document; the first that has a path wins where two have it.
DOCUMENTS = (
    ("secretmanager", "v1"),
    ("container", "v1"),
    ("artifactregistry", "v1"),
    ("serviceusage", "v1"),
    ("iam", "v1"),
    ("iamcredentials", "v1"),
    ("cloudresourcemanager", "v1"),
    ("cloudresourcemanager", "v3"),
)
_OUTPUT_ONLY = re.compile(r"\[?output only", re.IGNORECASE)
_DURATION = re.compile(r"-?\d+(\.\d{1,9})?s")
Violation = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a schema, or one parameter of a method."""

    kind: str = (
        ""  # "object", "array", "string", "integer", "number", "boolean", "any"; "" with a ref
    )
    ref: str = ""
    format: str = ""
    enum: tuple[str, ...] = ()
    pattern: str = ""
    items: Field | None = None
    values: Field | None = None  # of an object's additionalProperties
    read_only: bool = False
    required: bool = False
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Method:
    """One method of one API."""

    id: str
    api: Api
    http: str
    flat_path: re.Pattern[str]
    path: re.Pattern[str]
    parameters: Mapping[str, Field]
    request: str

    @property
    def service(self) -> str:
        """The service's DNS name, as `services:batchEnable` knows it."""
        return self.api.service


@dataclass(slots=True)
class Api:
    """One discovery document, condensed."""

    name: str
    version: str
    title: str
    service: str
    parameters: Mapping[str, Field]
    schemas: Mapping[str, Mapping[str, Field]]
    methods: list[Method]

    def check_query(self, method: Method, query: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
        """The query without the parameters every API has; INVALID_ARGUMENT for unknown ones."""
        known: dict[str, list[str]] = {}
        violations: list[Violation] = []
        for given, value in query:
            name = _camel(given) if "." not in given else given
            if given.removeprefix("$") in self.parameters or given in self.parameters:
                continue
            field = method.parameters.get(name)
            if field is None:
                violations.append(
                    (
                        "",
                        f'Invalid JSON payload received. Unknown name "{given}": Cannot bind query'
                        f" parameter. Field '{given}' could not be found in request message.",
                    )
                )
                continue
            violations += _scalar(field, value, name)
            known.setdefault(name, []).append(value)
        violations += [
            (name, f"Invalid value at '{name}': it may be given once")
            for name, values in known.items()
            if len(values) > 1 and not method.parameters[name].repeated
        ]
        if violations:
            raise bad_request(violations)
        return known

    def check_body(self, schema: str, body: Any, *, echo: frozenset[str]) -> dict[str, Any]:
        """The body with lowerCamelCase names; INVALID_ARGUMENT with everything that is wrong.

        Fields that only Google sets are refused, except those at the top level that are in `echo`
        (`name`, which some clients repeat in the body of an update).
        """
        violations: list[Violation] = []
        checked = self._object(self.schemas[schema], body, "", violations, echo)
        if violations:
            raise bad_request(violations)
        return checked

    def _object(
        self,
        fields: Mapping[str, Field],
        value: Any,
        where: str,
        violations: list[Violation],
        echo: frozenset[str] = frozenset(),
    ) -> dict[str, Any]:
        if not isinstance(value, dict):
            violations.append((where, f"Invalid value at '{where}', {json.dumps(value)}"))
            return {}
        result: dict[str, Any] = {}
        for given, item in value.items():
            name = given if given in fields else _camel(given)
            path = f"{where}.{name}" if where else name
            field = fields.get(name)
            if field is None:
                place = f" at '{where}'" if where else ""
                violations.append(
                    (
                        where,
                        f'Invalid JSON payload received. Unknown name "{given}"{place}:'
                        " Cannot find field.",
                    )
                )
            elif item is None:
                continue  # proto3 JSON: null is the same as absent
            elif field.read_only and name not in echo:
                violations.append((path, f"Field '{path}' is output only."))
            else:
                result[name] = self._value(field, item, path, violations)
        return result

    def _value(self, field: Field, value: Any, where: str, violations: list[Violation]) -> Any:
        if field.ref:
            return self._object(self.schemas[field.ref], value, where, violations)
        if field.kind == "array" and field.items:
            if not isinstance(value, list):
                violations.append((where, f"Invalid value at '{where}': a list is expected"))
                return value
            return [
                self._value(field.items, item, f"{where}[{index}]", violations)
                for index, item in enumerate(value)
            ]
        if field.kind == "object":
            if not isinstance(value, dict):
                violations.append((where, f"Invalid value at '{where}': an object is expected"))
                return value
            if field.values is None:
                return value
            return {
                key: self._value(field.values, item, f"{where}.{key}", violations)
                for key, item in value.items()
            }
        violations += _scalar(field, value, where)
        return value


def _scalar(field: Field, value: Any, where: str) -> Iterator[Violation]:
    """What is wrong with one string, number, boolean or enum value."""
    shown = json.dumps(value)
    if field.enum:
        if isinstance(value, int) and not isinstance(value, bool):
            raise not_modelled(f"enum numbers: name the value of '{where}' instead of {value}")
        if value not in field.enum:
            yield (where, f"Invalid value at '{where}' (TYPE_ENUM), {shown}")
    elif field.kind == "boolean":
        if not isinstance(value, bool) and value not in ("true", "false"):
            yield (where, f"Invalid value at '{where}' (TYPE_BOOL), {shown}")
    elif field.kind == "integer" or field.format in ("int64", "uint64"):
        if isinstance(value, bool) or not re.fullmatch(r"-?\d+", str(value)):
            kind = (field.format or "int32").upper()
            yield (where, f"Invalid value at '{where}' (TYPE_{kind}), {shown}")
    elif field.kind == "number":
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield (where, f"Invalid value at '{where}' (TYPE_DOUBLE), {shown}")
    elif field.kind == "string":
        yield from _string(field, value, where)


def _string(field: Field, value: Any, where: str) -> Iterator[Violation]:
    if not isinstance(value, str):
        yield (where, f"Invalid value at '{where}' (TYPE_STRING), {json.dumps(value)}")
    elif field.format == "byte":
        try:
            base64.b64decode(value.replace("-", "+").replace("_", "/"), validate=True)
        except (binascii.Error, ValueError):
            yield (where, f"Invalid value at '{where}' (TYPE_BYTES), Base64 decoding failed")
    elif field.format == "google-datetime":
        try:
            datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            yield (
                where,
                f"Invalid value at '{where}' (type.googleapis.com/google.protobuf.Timestamp)",
            )
    elif field.format == "google-duration" and not _DURATION.fullmatch(value):
        yield (where, f"Invalid value at '{where}' (type.googleapis.com/google.protobuf.Duration)")


@functools.cache
def methods() -> tuple[Method, ...]:
    """Every method of every document."""
    return tuple(method for name, version in DOCUMENTS for method in load(name, version).methods)


def match(http: str, path: str) -> list[Method]:
    """The methods with this verb and path (without its leading slash), best first."""
    return [m for m in methods() if m.http == http and m.flat_path.fullmatch(path)]


@functools.cache
def load(name: str, version: str) -> Api:
    """One document, condensed."""
    text = get_static_doc(name, version)
    if text is None:
        raise FileNotFoundError(f"google-api-python-client has no document {name}.{version}")
    document = json.loads(text, object_pairs_hook=_without_prose)
    api = Api(
        name=name,
        version=version,
        title=document["title"],
        service=document["rootUrl"].removeprefix("https://").rstrip("/"),
        parameters=_fields(document["parameters"]),
        schemas={k: _fields(s.get("properties", {})) for k, s in document["schemas"].items()},
        methods=[],
    )
    api.methods.extend(_method(api, raw) for raw in _walk(document))
    return api


def _without_prose(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Drop descriptions while parsing; "[Output only]" at their start is kept as `readOnly`."""
    result = dict(pairs)
    description = result.get("description")
    if isinstance(description, str):
        del result["description"]
        if _OUTPUT_ONLY.match(description):
            result["readOnly"] = True
    result.pop("enumDescriptions", None)
    return result


def _walk(node: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from node.get("methods", {}).values()
    for resource in node.get("resources", {}).values():
        yield from _walk(resource)


def _method(api: Api, raw: Mapping[str, Any]) -> Method:
    return Method(
        id=raw["id"],
        api=api,
        http=raw["httpMethod"],
        flat_path=re.compile(_template(raw.get("flatPath", raw["path"]))),
        path=re.compile(_template(raw["path"])),
        parameters=_fields(raw.get("parameters", {})),
        request=raw.get("request", {}).get("$ref", ""),
    )


def _template(path: str) -> str:
    """The expression for a path template: `{x}` is one segment, `{+x}` may hold slashes."""
    parts = re.split(r"\{(\+?)(\w+)\}", path)
    expression = re.escape(parts[0])
    for index in range(1, len(parts), 3):
        value = "[^:]+" if parts[index] else "[^/:]+"
        expression += f"(?P<{parts[index + 1]}>{value})" + re.escape(parts[index + 2])
    return expression


def _fields(raw: Mapping[str, Any]) -> dict[str, Field]:
    return {name: _field(value) for name, value in raw.items()}


_shared: dict[Field, Field] = {}


def _field(raw: Mapping[str, Any]) -> Field:
    field = Field(
        kind=raw.get("type", ""),
        ref=raw.get("$ref", ""),
        format=raw.get("format", ""),
        enum=tuple(raw.get("enum", ())),
        pattern=raw.get("pattern", ""),
        items=_field(raw["items"]) if "items" in raw else None,
        values=_field(raw["additionalProperties"]) if "additionalProperties" in raw else None,
        read_only=raw.get("readOnly", False),
        required=raw.get("required", False),
        repeated=raw.get("repeated", False),
    )
    return _shared.setdefault(field, field)


def _camel(name: str) -> str:
    """proto3 JSON takes `snake_case` names as well as `lowerCamelCase` ones."""
    return re.sub(r"(?<=[a-z0-9])_([a-z0-9])", lambda found: found[1].upper(), name)
