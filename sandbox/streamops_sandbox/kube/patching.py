"""PATCH requests: the four kinds of patch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import orjson

from streamops_sandbox.kube import codec, conversion, decoding, errors, managed, patches
from streamops_sandbox.kube import schema as s
from streamops_sandbox.kube.api import Write
from streamops_sandbox.kube.merge import TypedError
from streamops_sandbox.kube.objects import Objects, check_name
from streamops_sandbox.kube.requestinfo import flag
from streamops_sandbox.kube.resources import Resource
from streamops_sandbox.kube.schema import Schema
from streamops_sandbox.objects import Object

#: The kinds of patch that custom resources take, too.
_OF_CUSTOM = (patches.JSON_PATCH, patches.MERGE_PATCH, codec.APPLY_YAML)


async def patch(
    objects: Objects, body: bytes, content_type: str, query: Mapping[str, str], write: Write
) -> tuple[int, Object | bytes]:
    """Apply a patch; returns the HTTP code and the object, as JSON where it is at hand."""
    resource = write.resource
    kind = codec.media_type(content_type)
    if kind == codec.APPLY_YAML:
        return await _apply(objects, body, query, write)
    if query.get("force") is not None:
        why = "Forbidden: may not be specified for non-apply patch"
        raise _bad_option("FieldValueForbidden", "force", why)
    if resource.custom and kind not in _OF_CUSTOM:
        raise errors.unsupported_media_type(_OF_CUSTOM)
    if kind not in (*_OF_CUSTOM, patches.STRATEGIC_PATCH):
        text = "415: Unsupported Media Type"
        raise errors.StatusError(415, "UnsupportedMediaType", text, details={})
    write.patched = True
    transform = parse_patch(kind, body, resource.schema)
    source = "json patch " if kind == patches.JSON_PATCH else ""
    write.duplicates = [source + text for text in codec.duplicates(body)]
    return 200, await objects.update(transform, write)


async def _apply(
    objects: Objects, body: bytes, query: Mapping[str, str], write: Write
) -> tuple[int, Object | bytes]:
    write.applied = True
    resource, namespace, name = write.resource, write.namespace, write.name
    collection = objects.api.collection(resource)
    stored = collection.get(namespace, name)
    configuration = cache(lambda: _configuration(body, resource, name, query))
    request = hash((body, *query.items(), id(resource), write.subresource))
    repeated = stored is not None and stored.no_op == request

    def transform(live: Object) -> Object:
        if repeated and collection.get(namespace, name) is stored:
            return live
        try:
            return managed.apply(live, configuration(), write, force=flag(query.get("force")))
        except TypedError as error:
            raise _typed_error(configuration(), resource, str(error)) from error

    if not repeated:
        configuration()  # its errors come first
    if stored is None and not write.subresource:
        blank = _blank(resource, namespace, name, configuration()["metadata"].get("uid"))
        return 201, await objects.create(transform(blank), write)
    result = await objects.update(transform, write)
    if stored is not None and collection.get(namespace, name) is stored and not write.dry_run:
        stored.no_op = request
        return 200, conversion.raw(stored, resource)
    return 200, result


def _configuration(body: bytes, resource: Resource, name: str, query: Mapping[str, str]) -> Object:
    """Return an applied configuration in its type's shape; raises a 400, 422 or 500."""
    config = parse_configuration(body)
    version = config["apiVersion"]
    if version != resource.api_version or config["kind"] != resource.kind:
        shown = version if "/" in version else f"/{version}"
        raise errors.bad_request(f"invalid object type: {shown}, Kind={config['kind']}")
    check_name(config["metadata"], name)
    require_manager(query)
    return _conform(config, resource)


def _blank(resource: Resource, namespace: str, name: str, uid: str | None) -> Object:
    """Return the object that an apply creates, before the configuration is laid over it."""
    if uid:
        why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise errors.conflict(resource.group, resource.plural, name, why)
    place = {"name": name, "namespace": namespace} if resource.namespaced else {"name": name}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": place}


def parse_patch(kind: str, body: bytes, schema: Schema) -> Callable[[Object], Object]:
    """Return the function that applies a JSON, merge or strategic merge patch; raises a 400."""
    try:
        patch = codec.loads(body)
    except codec.ParseError as error:
        raise errors.bad_request(f"error decoding patch: {error}") from error
    if kind != patches.JSON_PATCH:
        patches.check_type(patch, dict, "map[string]interface {}")
    plain = {patches.JSON_PATCH: patches.json_patch, patches.MERGE_PATCH: patches.merge_patch}
    applied = plain.get(kind) or partial(patches.strategic_patch, node=schema)
    return lambda live: applied(live, patch)


def parse_configuration(body: bytes) -> Object:
    """Return an applied configuration with its metadata; raises a 400."""
    try:
        config = codec.load_yaml(body)
    except codec.ParseError as error:
        text = f"error decoding YAML: error converting YAML to JSON: {error}"
        raise errors.bad_request(text) from error
    if not isinstance(config, dict):
        why = codec.cannot_unmarshal(config, "value of type map[string]interface {}")
        text = f"error decoding YAML: error unmarshaling JSON: while decoding JSON: {why}"
        raise errors.bad_request(text)
    for field in ("apiVersion", "kind"):
        if not config.get(field):
            shown = orjson.dumps(config).decode()
            text = f"Object '{field[0].upper()}{field[1:]}' is missing in '{shown}'"
            raise errors.bad_request(text)
    metadata = config["metadata"] = config.get("metadata") or {}
    if metadata.get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    return config


def require_manager(query: Mapping[str, str]) -> None:
    """Refuse a server-side apply without a field manager; raises a 422."""
    if not query.get("fieldManager"):
        why = "Required value: is required for apply patch"
        raise _bad_option("FieldValueRequired", "fieldManager", why)


def _conform(config: Object, resource: Resource) -> Object:
    # Unlike other writes, an unknown field is always an error here: it could not be owned.
    decoder, problems = decoding.Decoder(keep_empty=True), list[str]()
    conformed: Object = config
    if not resource.custom:
        try:
            conformed = decoder.conform(config, resource.schema)
            if not decoder.unknown:
                return conformed
        except decoding.DecodeError as error:
            problems = [str(error)]
    found: list[str] = []
    _check_types(config, resource.schema, "", found)
    problems = found or problems
    if problems:
        text = problems[0] if len(problems) == 1 else "errors:\n  " + "\n  ".join(problems)
        raise _typed_error(config, resource, text)
    return conformed


def _typed_error(config: Object, resource: Resource, text: str) -> errors.StatusError:
    name, namespace = (config["metadata"].get(key, "") for key in ("name", "namespace"))
    group_version = resource.api_version if resource.group else f"/{resource.version}"
    what = f"{namespace}/{name}; {group_version}, Kind={resource.kind}"
    text = f"failed to create typed patch object ({what}): {text}"
    return errors.StatusError(500, "", text)


_TYPES: dict[str, type | tuple[type, ...]] = {
    s.STRING: str, s.OBJECT: dict, s.MAP: dict, s.ARRAY: list, s.BOOLEAN: bool,
    s.INTEGER: (int, float), s.NUMBER: (int, float),
}  # fmt: skip
_TYPE_NAMES = {
    s.OBJECT: "map", s.MAP: "map", s.ARRAY: "list", s.BOOLEAN: "boolean",
    s.INTEGER: "numeric (int or float)", s.NUMBER: "numeric (int or float)",
}  # fmt: skip


def _check_types(value: Any, node: Schema, path: str, problems: list[str]) -> None:
    """Collect fields that the schema does not have, and values of another type."""
    wanted = _TYPES.get(node.type)
    if wanted is not None and value is not None and not isinstance(value, wanted):
        name = _TYPE_NAMES.get(node.type, node.type)
        shown = f"&value.valueUnstructured{{Value:{orjson.dumps(value).decode()}}}"
        if node.type in (s.INTEGER, s.NUMBER):
            shown = {str: "string", bool: "boolean", list: "list"}.get(type(value), "map")
        problems.append(f"{path}: expected {name}, got {shown}")
    elif isinstance(value, dict):
        for key, item in value.items():
            child = node.child(key)
            if child is None:
                problems.append(f"{path}.{key}: field not declared in schema")
            else:
                _check_types(item, child, f"{path}.{key}", problems)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_types(item, node.element(), f"{path}[{index}]", problems)


def _bad_option(reason: str, field: str, message: str) -> errors.StatusError:
    return errors.invalid("meta.k8s.io", "PatchOptions", "", [errors.cause(reason, field, message)])
