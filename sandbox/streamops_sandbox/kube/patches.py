"""JSON patch, JSON merge patch and strategic merge patch."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import jsonpointer

from streamops_sandbox.kube import codec, errors
from streamops_sandbox.kube.schema import FREE, Schema
from streamops_sandbox.objects import Object

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"

_INAPPLICABLE = (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, KeyError)
_DIRECTIVE = "$patch"
_DELETE_PRIMITIVE = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"
_RETAIN_KEYS = "$retainKeys"


def json_patch(target: Object, patch: Any) -> Object:
    """RFC 6902; raises a 400 for a malformed patch, a 422 for one that does not apply."""
    check_type(patch, list, "[]handlers.jsonPatchOp")
    for operation in patch:
        check_type(operation, dict, "handlers.jsonPatchOp")
    try:
        result: Object = target
        for operation in patch:
            result = _json_operation(result, _as_go_reads(operation))
    except (*_INAPPLICABLE, TypeError) as error:
        text = "the server rejected our request due to an error in our request"
        raise errors.StatusError(422, "Invalid", text, details={}) from error
    return result


def check_type(value: object, wanted: type, go_type: str) -> None:
    """Check that a part of a patch is a list or an object; raises a 400."""
    if not isinstance(value, wanted):
        why = codec.cannot_unmarshal(value, f"value of type {go_type}")
        raise errors.bad_request(f"error decoding patch: {why}")


def _json_operation(target: Object, operation: Object) -> Object:
    try:
        applied: Object = jsonpatch.JsonPatch([operation]).apply(target)
    except _INAPPLICABLE:
        # Go's library replaces what is not there, copies it as null and finds it equal to null.
        name, value = operation.get("op"), operation.get("value")
        if name == "test" and "value" in operation and value is None:
            return target
        if name == "copy":
            value = None
        elif name != "replace":
            raise
        added = {"op": "add", "path": operation["path"], "value": value}
        applied = jsonpatch.JsonPatch([added]).apply(target)
    return applied


def _as_go_reads(operation: Object) -> Object:
    """Return an operation with null for a missing value; what precedes the first slash does not count."""
    path = operation.get("path")
    if isinstance(path, str) and path and not path.startswith("/") and "/" in path:
        operation = {**operation, "path": path[path.index("/") :]}
    return {"value": None, **operation} if operation.get("op") in ("add", "replace") else operation


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396; the target is not changed."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def strategic_patch(target: Object, patch: Object, node: Schema) -> Object:
    """Kubernetes' own patch: lists merge by their merge key, with directives.

    https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
    """
    return _merge_map(copy.deepcopy(target), patch, node)


def _merge_map(target: Object, patch: Object, node: Schema) -> Object:
    directive = patch.get(_DIRECTIVE)
    if directive == "replace":
        return {key: _clean(value) for key, value in patch.items() if key != _DIRECTIVE}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        text = f"unknown patch type: {directive} in map: {_go_map(patch)}"
        raise errors.StatusError(500, "", text)
    retained = patch.get(_RETAIN_KEYS)
    if retained is not None and not isinstance(retained, list):
        raise errors.bad_request("invalid patch format of retainKeys")
    if retained is not None:
        target = {key: value for key, value in target.items() if key in retained}
    for key, value in patch.items():
        if key in (_DIRECTIVE, _RETAIN_KEYS) or key.startswith(_ORDER):
            _check_order(key, value, patch, node)
            continue
        if key.startswith(_DELETE_PRIMITIVE):
            field = key.removeprefix(_DELETE_PRIMITIVE)
            target[field] = [item for item in target.get(field) or [] if item not in value]
        elif value is None:
            target.pop(key, None)
        else:
            child = node.child(key) or FREE
            before = target.get(key)
            target[key] = _merge_value(before, value, child)
            if isinstance(target[key], list) and "merge" in child.strategies:
                order = patch.get(_ORDER + key, value)
                target[key] = _ordered(target[key], order or [], before or [], child)
    for key, order in patch.items():  # an order without a patch of the list itself
        field = key.removeprefix(_ORDER)
        if key.startswith(_ORDER) and field not in patch and isinstance(target.get(field), list):
            child = node.child(field) or FREE
            target[field] = _ordered(target[field], order, target[field], child)
    return target


def _check_order(key: str, order: Any, patch: Object, node: Schema) -> None:
    """Check that a stated order names the items that are patched."""
    field = key.removeprefix(_ORDER)
    merge_key = (node.child(field) or FREE).merge_key
    if not key.startswith(_ORDER) or not merge_key or field not in patch:
        return
    listed = [item.get(merge_key) for item in order]
    items = [item for item in patch[field] if _DIRECTIVE not in item]
    if any(item.get(merge_key) not in listed for item in items):
        text = f"The order in patch list:\n{_go_map(items)}\n doesn't match {_ORDER[:-1]} list:\n"
        raise errors.StatusError(500, "", f"{text}{_go_map(order)}\n")


def _merge_value(target: Any, value: Any, node: Schema) -> Any:
    if isinstance(value, dict):
        base = target if isinstance(target, dict) else {}
        return _merge_map(base, value, node)
    if isinstance(value, list):
        if "merge" in node.strategies:
            return _merge_list(target if isinstance(target, list) else [], value, node)
        return _clean(value)
    return value


def _merge_list(target: list[Any], patch: list[Any], node: Schema) -> list[Any]:
    if not node.merge_key:
        return target + [item for item in patch if item not in target]
    if any(isinstance(item, dict) and item.get(_DIRECTIVE) == "replace" for item in patch):
        return [
            _clean(item) for item in patch if not (isinstance(item, dict) and _DIRECTIVE in item)
        ]
    result = list(target)
    for item in patch:
        if not isinstance(item, dict) or node.merge_key not in item:
            text = f"map: {_go_map(item)} does not contain declared merge key: {node.merge_key}"
            raise errors.StatusError(500, "", text)
        identity = item[node.merge_key]
        same = [index for index, old in enumerate(result) if old.get(node.merge_key) == identity]
        if item.get(_DIRECTIVE) == "delete":
            result = [old for index, old in enumerate(result) if index not in same]
        elif same:
            result[same[0]] = _merge_map(result[same[0]], item, node.element())
        else:
            result.append(_merge_map({}, item, node.element()))
    return result


def _go_map(value: Any) -> str:
    """Return a value as Go's `%v` shows it."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_go_map(item)}' for key, item in sorted(value.items()))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(_go_map, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "<nil>" if value is None else str(value)


def _ordered(items: list[Any], order: list[Any], before: list[Any], node: Schema) -> list[Any]:
    """Return a merged list with the listed items in the given order, merged with the others.

    As Go's mergeSortedSlice: an item that is not listed comes before a listed one if both were in the list `before`,
    in that order.
    """
    key = node.merge_key

    def identity(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [identity(item) for item in order]
    places = [identity(item) for item in before]
    listed = sorted(
        (item for item in items if identity(item) in wanted),
        key=lambda item: wanted.index(identity(item)),
    )
    others = [item for item in items if identity(item) not in wanted]
    result: list[Any] = []
    while listed and others:
        left, right = identity(others[0]), identity(listed[0])
        both = left in places and right in places
        first = both and places.index(left) < places.index(right)
        result.append((others if first else listed).pop(0))
    return result + listed + others


def _clean(value: Any) -> Any:
    """Without directives and nulls, which have no meaning in a new value."""
    if isinstance(value, dict):
        return {
            key: _clean(item)
            for key, item in value.items()
            if item is not None
            and key not in (_DIRECTIVE, _RETAIN_KEYS)
            and not key.startswith((_ORDER, _DELETE_PRIMITIVE))
        }
    if isinstance(value, list):
        return [
            _clean(item)
            for item in value
            if not (isinstance(item, dict) and item.get(_DIRECTIVE) == "delete")
        ]
    return value
