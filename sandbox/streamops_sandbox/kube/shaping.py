"""From a request's object to one that may be stored: decoding, pruning, defaults, checks."""

from __future__ import annotations

from typing import Any

from streamops_sandbox.kube import builtin_schemas, custom_objects, decoding, errors, names
from streamops_sandbox.kube.api import Api, Write
from streamops_sandbox.kube.resources import Resource

Json = dict[str, Any]


def check_type(obj: Json, resource: Resource) -> None:
    """The body's apiVersion and kind have to be those of the path; raises a 400."""
    kind, version = obj.get("kind"), obj.get("apiVersion")
    if resource.custom and not kind:
        raise errors.bad_request("Object 'Kind' is missing in the request's body")
    if kind and kind != resource.kind:
        raise errors.bad_request(
            f"{kind} in version {(version or resource.api_version).rpartition('/')[2]!r} cannot "
            f"be handled as a {resource.kind}: no kind {kind!r} is expected at this path".replace(
                "'", '"'
            )
        )
    if version and version != resource.api_version:
        raise errors.bad_request(
            f"the API version in the data ({version}) does not match the expected API version "
            f"({resource.api_version})"
        )


def shape(obj: Json, resource: Resource, api: Api, write: Write) -> Json:
    """The object in its type's shape, with defaults; reports unknown fields as asked."""
    typed = {**obj, "apiVersion": resource.api_version, "kind": resource.kind}
    typed.setdefault("metadata", {})
    if resource.custom:
        return _shape_custom(typed, resource, write)
    decoder = decoding.Decoder(resource.kind, resource.api_version)
    result: Json = decoder.conform(typed, resource.schema)
    decoding.report_unknown(decoder.unknown, write.field_validation, write.warnings)
    result.setdefault("metadata", {})
    api.strategy(resource).default(result)
    return result


def _shape_custom(obj: Json, resource: Resource, write: Write) -> Json:
    decoder = decoding.Decoder(resource.kind, resource.api_version)
    meta_schema = builtin_schemas.definitions().named(builtin_schemas.OBJECT_META)
    obj["metadata"] = decoder.conform(obj["metadata"] or {}, meta_schema, "metadata")
    unknown = decoder.unknown
    result: Json = custom_objects.prune(obj, resource.schema, "", unknown)
    decoding.report_unknown(unknown, write.field_validation, write.warnings)
    custom_objects.drop_nulls(result, resource.schema)
    custom_objects.default(result, resource.schema)
    return result


def check(obj: Json, old: Json | None, resource: Resource, api: Api) -> None:
    """All rules at once; raises a 422."""
    causes = _metadata_causes(obj, resource)
    if resource.custom:
        causes += custom_objects.validate(obj, resource.schema)
    else:
        strategy = api.strategy(resource)
        causes += _required_causes(obj, resource)
        causes += strategy.validate(obj)
        if old is not None:
            causes += strategy.validate_update(obj, old)
    if causes:
        name = obj["metadata"].get("name", "")
        raise errors.invalid(resource.group, resource.kind, name, causes)


def _metadata_causes(obj: Json, resource: Resource) -> list[Json]:
    metadata = obj["metadata"]
    found = []

    def bad(field: str, value: str, problems: list[str]) -> None:
        for problem in problems:
            found.append(
                errors.cause("FieldValueInvalid", field, f'Invalid value: "{value}": {problem}')
            )

    name = metadata.get("name", "")
    bad("metadata.name", name, names.problems(name, group=resource.group, kind=resource.kind))
    for key, value in (metadata.get("labels") or {}).items():
        bad("metadata.labels", key, names.label_key_problems(key))
        bad("metadata.labels", value, names.label_value_problems(value))
    for key in metadata.get("annotations") or {}:
        bad("metadata.annotations", key, names.label_key_problems(key.lower()))
    for index, owner in enumerate(metadata.get("ownerReferences") or []):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                path = f"metadata.ownerReferences[{index}].{field}"
                found.append(errors.cause("FieldValueRequired", path, "Required value"))
    return found


def _required_causes(obj: Json, resource: Resource) -> list[Json]:
    """Fields the published schema requires, wherever their parent is there."""
    found: list[Json] = []
    _walk_required(obj, resource.schema, "", found)
    return found


def _walk_required(value: Any, node: Any, path: str, found: list[Json]) -> None:
    if isinstance(value, dict):
        for key in node.required:
            if key not in value:
                field = f"{path}.{key}" if path else key
                found.append(errors.cause("FieldValueRequired", field, "Required value"))
        for key, item in value.items():
            if isinstance(item, (dict, list)):
                child = node.child(key)
                if child is not None:
                    _walk_required(item, child, f"{path}.{key}" if path else key, found)
    elif isinstance(value, list):
        element = node.element()
        for index, item in enumerate(value):
            if isinstance(item, (dict, list)):
                _walk_required(item, element, f"{path}[{index}]", found)
