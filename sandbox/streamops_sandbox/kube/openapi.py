"""OpenAPI v3 documents, one per group and version, made when asked for.

`kubectl explain`, `apply` and `diff` read them, with descriptions, list keys and patch
strategies. https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-v3
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from aiohttp import web

from streamops_sandbox.kube import builtin_schemas, errors
from streamops_sandbox.kube.resources import Registry, Resource

Json = dict[str, Any]

_DEFS = "#/$defs/"
_SCHEMAS = "#/components/schemas/"
_JSON_TYPES = ("application/json", "application/yaml")
_PATCH_TYPES = (
    "application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)  # fmt: skip
_WRITE_PARAMETERS = {
    "dryRun": "When present, indicates that modifications should not be persisted.",
    "fieldManager": "A name associated with the actor or entity that is making these changes.",
    "fieldValidation": (
        "Instructs the server on how to handle objects in the request containing unknown or "
        "duplicate fields."
    ),
}
_METHODS = {
    "get": ("get", "list"),
    "post": ("create",),
    "put": ("update",),
    "patch": ("patch",),
    "delete": ("delete",),
}


class OpenApi:
    """Serves /openapi/v3."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._index: tuple[int, Json] = (-1, {})

    def serve(self, request: web.BaseRequest, parts: list[str]) -> web.Response:
        """The index, or the document of one group and version; raises a 404."""
        if not parts:
            # API servers set no content type for the index, and Go then detects one.
            index = orjson.dumps(self._paths())
            return web.Response(body=index, content_type="text/plain", charset="utf-8")
        key = "/".join(parts)
        if key not in self._paths()["paths"]:
            raise errors.no_such_path()
        if parts[0] == "api":
            return _answer(self.document("", parts[1]))
        return _answer(self.document(parts[1], parts[2]))

    def _paths(self) -> Json:
        generation = self._registry.generation
        if self._index[0] != generation:
            paths = {}
            for group, versions in self._registry.group_versions().items():
                for version in versions:
                    key = f"apis/{group}/{version}" if group else f"api/{version}"
                    digest = self._digest(group, version)
                    paths[key] = {"serverRelativeURL": f"/openapi/v3/{key}?hash={digest}"}
            self._index = (generation, {"paths": paths})
        return self._index[1]

    def _digest(self, group: str, version: str) -> str:
        """Changes with the document, without making the document."""
        known = hashlib.sha256(builtin_schemas.kubernetes_version().encode())
        for resource in self._registry.in_version(group, version):
            known.update(resource.plural.encode())
            if resource.openapi is not None:
                known.update(orjson.dumps(resource.openapi))
        return known.hexdigest().upper()

    def document(self, group: str, version: str) -> Json:
        """The OpenAPI document of one group and version."""
        schemas: dict[str, Json] = {}
        paths: dict[str, Json] = {}
        definitions = builtin_schemas.read_definitions()
        for resource in self._registry.in_version(group, version):
            name = resource.definition or _custom_name(resource)
            if resource.custom:
                schemas[name] = _custom_schema(resource)
                _collect(builtin_schemas.OBJECT_META, definitions, schemas)
            else:
                _collect(name, definitions, schemas)
            paths.update(_resource_paths(resource, name))
        return {
            "openapi": "3.0.0",
            "info": {
                "title": "Kubernetes",
                "version": builtin_schemas.kubernetes_version(),
            },
            "paths": paths,
            "components": {"schemas": schemas},
        }


def _answer(value: Json) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


def _collect(name: str, definitions: dict[str, Json], schemas: dict[str, Json]) -> None:
    """Copy a definition and all it refers to."""
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in schemas:
            schemas[current] = _translated(definitions[current], waiting)


def _translated(value: Any, waiting: list[str]) -> Any:
    """JSON Schema with nullable types as OpenAPI 3.0 writes it."""
    if isinstance(value, list):
        return [_translated(item, waiting) for item in value]
    if not isinstance(value, dict):
        return value
    result: Json = {}
    for key, item in value.items():
        if key == "$ref" and isinstance(item, str):
            target = item.removeprefix(_DEFS)
            waiting.append(target)
            # OpenAPI 3.0 ignores what stands beside a reference.
            result["allOf"] = [{"$ref": _SCHEMAS + target}]
        elif key == "type" and isinstance(item, list):
            result["type"] = next(name for name in item if name != "null")
        elif key == "oneOf" and "properties" not in value:
            result["oneOf"] = [_translated(branch, waiting) for branch in item]
        elif key == "enum" and isinstance(item, list):
            result["enum"] = item
        else:
            result[key] = _translated(item, waiting)
    return result


def _custom_name(resource: Resource) -> str:
    return ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])


def _custom_schema(resource: Resource) -> Json:
    """A definition's schema with the fields every object has."""
    schema: Json = dict(resource.openapi or {"x-kubernetes-preserve-unknown-fields": True})
    schema["type"] = "object"
    schema["properties"] = {
        **(schema.get("properties") or {}),
        "apiVersion": {"type": "string", "description": "The versioned schema of this object."},
        "kind": {"type": "string", "description": "The REST resource this object represents."},
        "metadata": {"allOf": [{"$ref": _SCHEMAS + builtin_schemas.OBJECT_META}]},
    }
    schema["x-kubernetes-group-version-kind"] = [_kind(resource)]
    return schema


def _kind(resource: Resource) -> Json:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _resource_paths(resource: Resource, schema: str) -> dict[str, Json]:
    root = f"/apis/{resource.group}" if resource.group else "/api"
    root += f"/{resource.version}"
    if resource.namespaced:
        root += "/namespaces/{namespace}"
    collection = f"{root}/{resource.plural}"
    paths = {
        collection: _operations(resource, schema, ("get", "post")),
        f"{collection}/{{name}}": _operations(resource, schema, ("get", "put", "patch", "delete")),
    }
    if resource.has_status:
        paths[f"{collection}/{{name}}/status"] = _operations(
            resource, schema, ("get", "put", "patch")
        )
    return {path: operations for path, operations in paths.items() if operations}


def _operations(resource: Resource, schema: str, methods: tuple[str, ...]) -> Json:
    found: Json = {}
    reference = {"$ref": _SCHEMAS + schema}
    for method in methods:
        verb = next((verb for verb in _METHODS[method] if verb in resource.verbs), None)
        if verb is None:
            continue
        operation: Json = {
            "responses": {
                "200": {
                    "description": "OK",
                    "content": {"application/json": {"schema": reference}},
                }
            },
            "x-kubernetes-action": verb,
            "x-kubernetes-group-version-kind": _kind(resource),
        }
        if method in ("post", "put", "patch"):
            types = _PATCH_TYPES if method == "patch" else _JSON_TYPES
            operation["parameters"] = [
                {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
                for name, text in _WRITE_PARAMETERS.items()
            ]
            operation["requestBody"] = {
                "content": {media: {"schema": reference} for media in types},
                "required": True,
            }
        found[method] = operation
    return found
