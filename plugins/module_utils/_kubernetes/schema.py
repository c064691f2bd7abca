"""Checks objects against OpenAPI schemas where the server cannot be asked yet.

An object whose namespace or whose CustomResourceDefinition is part of the same bundle cannot be tried
out by a dry run before these exist. Its schema is known all the same: the server publishes those of
its kinds under /openapi/v3, and a CustomResourceDefinition carries its own. Structure, types and
literal limits are checked; rules in CEL and in webhooks remain the server's.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

from .client import Client
from .errors import ApiError

Object = dict[str, Any]
_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}
_GVK = "x-kubernetes-group-version-kind"
_KEEP_UNKNOWN = "x-kubernetes-preserve-unknown-fields"
_INT_OR_STRING = "x-kubernetes-int-or-string"


class Schemas:
    """Finds the schema of a kind, asking the server once for each group and version."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()  # objects are checked side by side, and a document takes long
        self._documents: dict[str, Object] = {}
        self._kinds: dict[tuple[str, str], Object | None] = {}
        self._paths: Object | None = None

    def problems(self, definition: Object) -> list[str]:
        """Return what is wrong with an object of a kind the server serves; empty if nothing is known."""
        api_version, kind = definition["apiVersion"], definition["kind"]
        with self._lock:
            schemas = self._document(api_version).get("components", {}).get("schemas", {})
            if (api_version, kind) not in self._kinds:
                group, _slash, version = api_version.rpartition("/")
                wanted = {"group": group, "version": version, "kind": kind}
                found = (item for item in schemas.values() if wanted in (item.get(_GVK) or []))
                self._kinds[api_version, kind] = next(found, None)
        schema = self._kinds[api_version, kind]
        return list(violations(definition, schema, schemas)) if schema else []

    def _document(self, api_version: str) -> Object:
        if self._paths is None:
            self._paths = self._fetch("/openapi/v3").get("paths", {})
        key = f"apis/{api_version}" if "/" in api_version else f"api/{api_version}"
        if key not in self._documents:
            url = (self._paths.get(key) or {}).get("serverRelativeURL", f"/openapi/v3/{key}")
            self._documents[key] = self._fetch(url)
        return self._documents[key]

    def _fetch(self, url: str) -> Object:
        path, _mark, query = url.partition("?")
        try:
            found: Object = self._client.transport.request(
                "GET", path, query=dict(part.split("=", 1) for part in query.split("&") if part)
            )
        except ApiError as error:
            if error.not_found:
                return {}
            raise
        return found


def crd_problems(definition: Object, crd: Object) -> list[str]:
    """Return what is wrong with a custom resource by the CustomResourceDefinition of its bundle."""
    version = definition["apiVersion"].rpartition("/")[2]
    for served in crd["spec"].get("versions") or []:
        if served.get("name") == version:
            schema = (served.get("schema") or {}).get("openAPIV3Schema") or {_KEEP_UNKNOWN: True}
            wrapped = {**schema, "properties": {**_IDENTITY, **(schema.get("properties") or {})}}
            wrapped["properties"]["metadata"] = {"type": "object", _KEEP_UNKNOWN: True}
            return list(violations(definition, wrapped, {}))
    return [f"apiVersion: the CustomResourceDefinition has no version '{version}'"]


_IDENTITY: Object = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}


def violations(value: Any, schema: Object, schemas: Object, path: str = "") -> Iterator[str]:
    """Yield "field: what is wrong" for all fields below `value`."""
    schema = _resolve(schema, schemas)
    if value is None:
        return  # taken as not given
    if schema.get(_INT_OR_STRING) or schema.get("format") == "int-or-string":
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield f"{path}: must be a number or a text, not {_name(value)}"
        return
    alternatives = [_resolve(part, schemas).get("type") for part in schema.get("oneOf") or []]
    kind = schema.get("type")
    if kind is None and alternatives and all(alternatives):
        if not any(_is(value, str(part)) for part in alternatives):
            yield f"{path}: must be {' or '.join(map(str, alternatives))}, not {_name(value)}"
        return
    if kind and not _is(value, kind):
        yield f"{path}: must be {kind}, not {_name(value)}"
        return
    yield from _limits(value, schema, path)
    if isinstance(value, dict):
        yield from _fields(value, schema, schemas, path)
    elif isinstance(value, list) and schema.get("items"):
        for number, item in enumerate(value):
            yield from violations(item, schema["items"], schemas, f"{path}[{number}]")


def _fields(value: Object, schema: Object, schemas: Object, path: str) -> Iterator[str]:
    properties = schema.get("properties") or {}
    rest = schema.get("additionalProperties")
    for name in schema.get("required") or []:
        if value.get(name) is None:
            yield f"{_join(path, name)}: is required"
    for name, item in value.items():
        if name in properties:
            yield from violations(item, properties[name], schemas, _join(path, name))
        elif isinstance(rest, dict):
            yield from violations(item, rest, schemas, _join(path, name))
        elif properties and not rest and not schema.get(_KEEP_UNKNOWN):
            if schema.get("x-kubernetes-embedded-resource") and name in (*_IDENTITY, "metadata"):
                continue
            yield f"{_join(path, name)}: no such field"


def _limits(value: Any, schema: Object, path: str) -> Iterator[str]:
    choices = schema.get("enum")
    if choices and value not in choices:
        yield f"{path}: must be one of {', '.join(map(str, choices))}, not '{value}'"
    if isinstance(value, str):
        pattern = schema.get("pattern")
        if pattern and not _matches(pattern, value):
            yield f"{path}: '{value}' does not match {pattern}"
    size = len(value) if isinstance(value, str | list | dict) else None
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    for measure, low, high in (
        (size, "minLength", "maxLength"),
        (size, "minItems", "maxItems"),
        (size, "minProperties", "maxProperties"),
        (number, "minimum", "maximum"),
    ):
        if measure is None:
            continue
        if measure < schema.get(low, measure):
            yield f"{path}: is less than {low} {schema[low]}"
        if measure > schema.get(high, measure):
            yield f"{path}: is more than {high} {schema[high]}"


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return True  # Go's syntax has a few things Python's has not: the server will judge


def _resolve(schema: Object, schemas: Object) -> Object:
    """Follow `$ref`, also inside the one-element `allOf` the API server writes around it."""
    while True:
        parts = schema.get("allOf") or []
        if "$ref" not in schema and len(parts) == 1 and "$ref" in parts[0]:
            schema = parts[0]
        if "$ref" not in schema:
            return schema
        schema = schemas.get(schema["$ref"].rpartition("/")[2]) or {_KEEP_UNKNOWN: True}


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(kind, object))


def _name(value: Any) -> str:
    for name, kind in _TYPES.items():
        if isinstance(value, bool):
            return "boolean"
        if isinstance(value, kind):
            return name
    return type(value).__name__


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
