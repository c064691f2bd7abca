"""Google's discovery documents: which methods exist, and what a request to one may hold.

The documents are those that google-api-python-client bundles
(https://developers.google.com/discovery/v1/reference/apis). Their schemas become JSON Schemas while
they are read: without descriptions, and equal parts shared, they take a fifth of the memory.
"""

from __future__ import annotations

import base64
import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from googleapiclient.discovery_cache import get_static_doc
from jsonschema import Draft202012Validator, FormatChecker, ValidationError, validators

from streamops_sandbox.google.errors import bad_request, not_modelled

#: (name, version) of every document; the first that has a path wins where two have it.
DOCUMENTS = (
    ("secretmanager", "v1"),
    ("container", "v1"),
    ("artifactregistry", "v1"),
    ("serviceusage", "v1"),
    ("iam", "v1"),
    ("iamcredentials", "v1"),
    ("cloudresourcemanager", "v3"),
)
_INTEGERS = ("int32", "int64", "uint32", "uint64")
_KEPT = ("$ref", "additionalProperties", "enum", "format", "items", "properties", "type")
_OUTPUT_ONLY = re.compile(r"\[?output only", re.IGNORECASE)
_EXPECTED = {
    "array": "a list is expected",
    "boolean": "TYPE_BOOL",
    "byte": "TYPE_BYTES",
    "enum": "TYPE_ENUM",
    "google-datetime": "type.googleapis.com/google.protobuf.Timestamp",
    "google-duration": "type.googleapis.com/google.protobuf.Duration",
    "integer": "TYPE_INT32",
    "number": "TYPE_DOUBLE",
    "object": "an object is expected",
    "string": "TYPE_STRING",
}
_DURATION = re.compile(r"-?\d+(\.\d{1,9})?s")
Schema = dict[str, Any]
Violation = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Method:
    """One method of one API; `parameters` are schemas by name, `request` names the body's schema."""

    id: str
    api: Api
    http: str
    flat_path: re.Pattern[str]
    path: re.Pattern[str]
    parameters: Mapping[str, Schema]
    request: str

    @property
    def service(self) -> str:
        """The service's DNS name, as `services:batchEnable` knows it."""
        return self.api.service


@dataclass(slots=True)
class Api:
    """One discovery document; `parameters` are those that all of its methods take."""

    title: str
    service: str
    parameters: Mapping[str, Schema]
    schemas: Mapping[str, Schema]
    methods: list[Method]

    def check_query(self, method: Method, query: Iterable[tuple[str, str]]) -> dict[str, Any]:
        """The query without the parameters every API has; INVALID_ARGUMENT for unknown ones."""
        known: dict[str, Any] = {}
        violations: list[Violation] = []
        for name, value in query:
            if name.removeprefix("$") in self.parameters or name in self.parameters:
                continue
            if name not in method.parameters:
                text = (
                    f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query'
                    f" parameter. Field '{name}' could not be found in request message."
                )
                violations.append(("", text))
                continue
            if method.parameters[name].get("repeated"):
                known.setdefault(name, []).append(value)
            else:
                known[name] = value
            violations += self._violations(method.parameters[name], value, name)
        if violations:
            raise bad_request(*violations)
        return known

    def check_body(self, schema: str, body: Any, *, echo: frozenset[str]) -> dict[str, Any]:
        """The body without nulls; INVALID_ARGUMENT with everything that is wrong.

        Fields that only Google sets are refused, except those at the top level that are in `echo`
        (`name`, which some clients repeat in the body of an update).
        """
        body = _without_nulls(body)
        violations = list(self._violations({"$ref": f"#/schemas/{schema}"}, body, "", echo))
        if violations:
            raise bad_request(*violations)
        return dict(body)

    def _violations(
        self, schema: Schema, value: Any, name: str, echo: frozenset[str] = frozenset()
    ) -> Iterator[Violation]:
        checker = _Validator({**schema, "schemas": self.schemas}, format_checker=_FORMATS)
        for error in checker.iter_errors(value):
            if error.validator != "readOnly" or not {*error.absolute_path} <= echo:
                yield from _violations_of(error, name)


def _violations_of(error: ValidationError, name: str) -> Iterator[Violation]:
    """What Google's JSON parser says of an error: the field, and the description."""
    where = name
    for part in error.absolute_path:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else part
    if error.validator == "additionalProperties":
        place = f" at '{where}'" if where else ""
        for unknown in (n for n in error.instance if n not in error.schema["properties"]):
            text = f'Invalid JSON payload received. Unknown name "{unknown}"{place}: Cannot find field.'
            yield where, text
        return
    if error.validator == "readOnly":
        yield where, f"Field '{where}' is output only."
        return
    wanted = "enum" if error.validator == "enum" else str(error.validator_value)
    shown = json.dumps(error.instance)
    if wanted == "enum" and isinstance(error.instance, int):
        raise not_modelled(f"enum numbers: name the value of '{where}' instead of {shown}")
    # A value that is not Base64 may be a secret all the same.
    said = "Base64 decoding failed" if wanted == "byte" else shown
    yield where, f"Invalid value at '{where}' ({_EXPECTED[wanted]}), {said}"


def _without_nulls(value: Any) -> Any:
    """In the JSON form of proto3, null is the same as absent."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


# -- JSON Schema with the types of proto3 ----------------------------------------------------------


def _read_only(_: Any, flag: bool, *__: Any) -> Iterator[ValidationError]:
    if flag:
        yield ValidationError("output only")


#: Integers may be strings, and in a query all values are.
_TYPES = Draft202012Validator.TYPE_CHECKER.redefine_many(
    {
        "any": lambda *_: True,
        "integer": lambda _, v: (
            not isinstance(v, bool) and re.fullmatch(r"-?\d+", str(v)) is not None
        ),
        "boolean": lambda _, v: isinstance(v, bool) or v in ("true", "false"),
    }
)
_Validator = validators.extend(Draft202012Validator, {"readOnly": _read_only}, type_checker=_TYPES)


def _is_base64(value: object) -> bool:
    base64.b64decode(str(value).replace("-", "+").replace("_", "/"), validate=True)
    return True


def _is_time(value: object) -> bool:
    return bool(datetime.fromisoformat(str(value)))


def _is_duration(value: object) -> bool:
    return _DURATION.fullmatch(str(value)) is not None


_FORMATS = FormatChecker(formats=())
_FORMATS.checks("byte", ValueError)(_is_base64)
_FORMATS.checks("google-datetime", ValueError)(_is_time)
_FORMATS.checks("google-duration", ValueError)(_is_duration)


# -- documents -------------------------------------------------------------------------------------


@functools.cache
def methods() -> tuple[Method, ...]:
    """Every method of every document."""
    return tuple(method for name, version in DOCUMENTS for method in load(name, version).methods)


def match(http: str, path: str) -> list[Method]:
    """The methods with this verb and path (without its leading slash), best first."""
    return [m for m in methods() if m.http == http and m.flat_path.fullmatch(path)]


@functools.cache
def load(name: str, version: str) -> Api:
    """Read one document."""
    text = get_static_doc(name, version)
    if text is None:
        raise FileNotFoundError(f"google-api-python-client has no document {name}.{version}")
    document = json.loads(text, object_pairs_hook=_reduced)
    api = Api(
        title=document["title"],
        service=document["rootUrl"].removeprefix("https://").rstrip("/"),
        parameters=document["parameters"],
        schemas=document["schemas"],
        methods=[],
    )
    api.methods.extend(_method(api, raw) for raw in _walk(document))
    return api


_shared: dict[str, Schema] = {}


def _reduced(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON Schema of an object that describes a value; leave others as they are."""
    given = dict(pairs)
    described = str(given.get("description", ""))
    if not isinstance(given.get("type", given.get("$ref")), str):
        return given  # with its description, which may be a field of that name
    schema = {key: given[key] for key in (*_KEPT, "repeated") if key in given}
    if "$ref" in schema:
        schema["$ref"] = f"#/schemas/{schema['$ref']}"
    if schema.get("format") in _INTEGERS:
        schema["type"] = "integer"
    if "properties" in schema:
        schema.setdefault("additionalProperties", False)
    if given.get("readOnly") or _OUTPUT_ONLY.match(described):
        schema["readOnly"] = True
    return _shared.setdefault(repr(schema), schema)


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
        parameters=raw.get("parameters", {}),
        request=raw.get("request", {}).get("$ref", "").rpartition("/")[2],
    )


def _template(path: str) -> str:
    """The expression for a path template: `{x}` is one segment, `{+x}` may hold slashes."""
    parts = re.split(r"\{(\+?)(\w+)\}", path)
    expression = re.escape(parts[0])
    for index in range(1, len(parts), 3):
        value = "[^:]+" if parts[index] else "[^/:]+"
        expression += f"(?P<{parts[index + 1]}>{value})" + re.escape(parts[index + 2])
    return expression
