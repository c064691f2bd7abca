"""OpenAPI v3 documents, one per group and version, made when asked for.

`kubectl explain`, `apply` and `diff` read them, with descriptions, list keys and patch
strategies. https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-v3
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from aiohttp import web

from streamops_sandbox.kube import builtin_schemas
from streamops_sandbox.kube.resources import Registry, Resource
from streamops_sandbox.kube.schema import OBJECT_META
from streamops_sandbox.objects import Object

_DEFS = "#/$defs/"
_SCHEMAS = "#/components/schemas/"
_JSON_TYPES = ("application/json", "application/yaml")
_PATCH_TYPES = (
    "application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)  # fmt: skip
#: Parameters of writes: that there is `fieldValidation` is what kubectl looks for.
_WRITE_PARAMETERS = [
    {"name": name, "in": "query", "schema": {"type": "string"}}
    for name in ("dryRun", "fieldManager", "fieldValidation")
]
#: The verbs of a method: of a collection, or of an object.
_METHODS = {
    "get": ("get", "list"), "post": ("create",), "put": ("update",), "patch": ("patch",),
    "delete": ("delete",),
}  # fmt: skip


class OpenApi:
    """Serves /openapi/v3."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._index: tuple[int, Object] = (-1, {})

    def serve(self, request: web.BaseRequest, parts: list[str]) -> web.Response:
        """Return the index, or the document of one group and version; raises a 404."""
        paths = self._paths()
        if not parts:
            # API servers set no content type for the index, and Go then detects one.
            index = orjson.dumps({"paths": paths})
            return web.Response(body=index, content_type="text/plain", charset="utf-8")
        if "/".join(parts) not in paths:
            return web.Response(status=404)
        document = self._document(*(["", parts[1]] if parts[0] == "api" else parts[1:]))
        return web.Response(body=orjson.dumps(document), content_type="application/json")

    def _paths(self) -> Object:
        generation = self._registry.generation
        if self._index[0] != generation:
            paths = {}
            for group, versions in self._registry.group_versions().items():
                for version in versions:
                    key = f"apis/{group}/{version}" if group else f"api/{version}"
                    digest = self._digest(group, version)
                    paths[key] = {"serverRelativeURL": f"/openapi/v3/{key}?hash={digest}"}
            self._index = (generation, paths)
        return self._index[1]

    def _digest(self, group: str, version: str) -> str:
        """Return what changes with the document, without making the document."""
        known = hashlib.sha256(builtin_schemas.kubernetes_version().encode())
        for resource in self._registry.in_version(group, version):
            known.update(resource.plural.encode() + orjson.dumps(resource.openapi))
        return known.hexdigest().upper()

    def _document(self, group: str, version: str) -> Object:
        schemas: dict[str, Object] = {}
        paths: dict[str, Object] = {}
        definitions = builtin_schemas.read_definitions()
        for resource in self._registry.in_version(group, version):
            name = resource.definition
            if resource.custom:
                name = ".".join([*reversed(group.split(".")), version, resource.kind])
                schemas[name] = _custom_schema(resource)
            waiting = [OBJECT_META if resource.custom else name]
            while waiting:
                current = waiting.pop()
                if current not in schemas:
                    schemas[current] = _translated(definitions[current], waiting)
            paths.update(_resource_paths(resource, {"$ref": _SCHEMAS + name}))
        return {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": builtin_schemas.kubernetes_version()},
            "paths": paths,
            "components": {"schemas": schemas},
        }


def _translated(value: Any, waiting: list[str]) -> Any:
    """Return JSON Schema with nullable types as OpenAPI 3.0 writes it; notes what it refers to."""
    if isinstance(value, list):
        return [_translated(item, waiting) for item in value]
    if not isinstance(value, dict):
        return value
    result: Object = {}
    for key, item in value.items():
        if key == "$ref" and isinstance(item, str):
            target = item.removeprefix(_DEFS)
            waiting.append(target)
            # OpenAPI 3.0 ignores what stands beside a reference.
            result["allOf"] = [{"$ref": _SCHEMAS + target}]
        elif key == "type" and isinstance(item, list):
            result["type"] = next(name for name in item if name != "null")
        else:
            result[key] = _translated(item, waiting)
    return result


def _custom_schema(resource: Resource) -> Object:
    """Return a definition's schema with the fields every object has."""
    schema: Object = dict(resource.openapi or {"x-kubernetes-preserve-unknown-fields": True})
    schema["type"] = "object"
    schema["properties"] = {
        **(schema.get("properties") or {}),
        "apiVersion": {"type": "string", "description": "The versioned schema of this object."},
        "kind": {"type": "string", "description": "The REST resource this object represents."},
        "metadata": {"allOf": [{"$ref": _SCHEMAS + OBJECT_META}]},
    }
    schema["x-kubernetes-group-version-kind"] = [_kind(resource)]
    return schema


def _kind(resource: Resource) -> Object:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _resource_paths(resource: Resource, schema: Object) -> dict[str, Object]:
    root = f"/apis/{resource.group}" if resource.group else "/api"
    space = "/namespaces/{namespace}" if resource.namespaced else ""
    collection = f"{root}/{resource.version}{space}/{resource.plural}"
    paths = {
        collection: ("get", "post"),
        f"{collection}/{{name}}": ("get", "put", "patch", "delete"),
    }
    if resource.has_status:
        paths[f"{collection}/{{name}}/status"] = ("get", "put", "patch")
    found = {path: _operations(resource, schema, methods) for path, methods in paths.items()}
    return {path: operations for path, operations in found.items() if operations}


def _operations(resource: Resource, schema: Object, methods: tuple[str, ...]) -> Object:
    found: Object = {}
    answer = {"description": "OK", "content": {"application/json": {"schema": schema}}}
    for method in methods:
        verb = next((verb for verb in _METHODS[method] if verb in resource.verbs), None)
        if verb is None:
            continue
        found[method] = {
            "responses": {"200": answer},
            "x-kubernetes-action": verb,
            "x-kubernetes-group-version-kind": _kind(resource),
        }
        if method in ("post", "put", "patch"):
            types = _PATCH_TYPES if method == "patch" else _JSON_TYPES
            content = {media: {"schema": schema} for media in types}
            found[method]["parameters"] = _WRITE_PARAMETERS
            found[method]["requestBody"] = {"content": content, "required": True}
    return found
