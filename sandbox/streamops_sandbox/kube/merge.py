"""Typed merging of objects: what structured-merge-diff does for server-side apply.

Maps merge by key, associative lists by their key fields, sets by value; everything atomic is
replaced as a whole. Semantics: sigs.k8s.io/structured-merge-diff/v6/typed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from streamops_sandbox.kube import schema as s
from streamops_sandbox.kube.fieldset import (
    Path,
    Set,
    describe,
    insert,
    is_member,
    key_element,
    value_element,
)
from streamops_sandbox.kube.schema import FREE, Schema

_MISSING: Any = object()


class TypedError(ValueError):
    """A value cannot be merged by its type: it has list items without an identity."""


def element_of(item: Any, node: Schema) -> str | None:
    """The path element of a list item; None where it has no identity."""
    if node.list_type == "set":
        return value_element(item)
    keys: dict[str, Any] = {}
    element = node.element()
    for key in node.list_keys:
        value = item.get(key) if isinstance(item, dict) else None
        if value is None:
            field_schema = element.properties.get(key, FREE)
            value = field_schema.default
            if value is None and element.name and key in element.required:
                value = 0 if field_schema.type == s.INTEGER else ""  # Go's zero values
        if value is not None:
            keys[key] = value
    return key_element(keys) if keys else None


def keyed(
    items: list[Any], node: Schema, path: Path = (), *, unique: bool = False
) -> dict[str, Any]:
    """Return a list's items by path element, in order; the first of duplicates wins, or is an error."""
    found: dict[str, Any] = {}
    for index, item in enumerate(items):
        element = element_of(item, node)
        if element is None:
            raise TypedError(
                f"{describe(path)}: element {index}: associative list with keys has an element "
                f'that omits key field "{node.list_keys[0]}" (and doesn\'t have default value)'
            )
        if unique and element in found:
            identity = describe((element,))
            raise TypedError(f"{describe(path)}: duplicate entries for key {identity}")
        found.setdefault(element, item)
    return found


def field_set(value: Any, node: Schema) -> Set:
    """The paths a configuration states, each leaf and each list item."""
    result: Set = {}
    _collect(value, node, (), result)
    return result


def _parts(value: Any, node: Schema, path: Path, *, unique: bool = False) -> dict[str, Any] | None:
    """Return a value's parts by path element; None where it is owned as a whole."""
    if node.atomic:
        return None
    if isinstance(value, dict):
        return {f"f:{key}": item for key, item in value.items()}
    is_list = isinstance(value, list) and node.type == s.ARRAY
    return keyed(value, node, path, unique=unique) if is_list else None


def _below(node: Schema, element: str) -> Schema:
    return (node.child(element[2:]) if element.startswith("f:") else node.element()) or FREE


def _collect(value: Any, node: Schema, path: Path, result: Set) -> None:
    parts = _parts(value, node, path, unique=True)
    if parts is None:
        insert(result, path)
        return
    for element, item in parts.items():
        below = (*path, element)
        _collect(item, _below(node, element), below, result)
        # Fields of structs are not members themselves, other than empty ones.
        if item in (None, {}) or element[2:] not in node.properties:
            insert(result, below)


def merge(live: Any, config: Any, node: Schema, path: Path = ()) -> Any:
    """The live value with the configuration laid over it; neither is changed."""
    if live is _MISSING or live is None or live == config or node.atomic:
        return config
    if isinstance(live, dict) and isinstance(config, dict):
        merged = dict(live)
        for key, item in config.items():
            below = (*path, f"f:{key}")
            merged[key] = merge(live.get(key, _MISSING), item, node.child(key) or FREE, below)
        return merged
    if isinstance(live, list) and isinstance(config, list) and node.type == s.ARRAY:
        return _merge_lists(live, config, node, path)
    return config


def _merge_lists(live: list[Any], config: list[Any], node: Schema, path: Path) -> list[Any]:
    mine, theirs = keyed(live, node, path), keyed(config, node, path)
    result: list[Any] = []
    done: set[str] = set()
    waiting = list(mine)
    position = 0
    for element, item in theirs.items():
        # Items only the live list has keep their place before the next shared one.
        while position < len(waiting) and waiting[position] != element:
            other = waiting[position]
            if other in theirs and other not in done:
                break
            if other not in theirs:
                result.append(mine[other])
            position += 1
        if position < len(waiting) and waiting[position] == element:
            position += 1
        result.append(merge(mine.get(element, _MISSING), item, node.element(), (*path, element)))
        done.add(element)
    result += [mine[other] for other in waiting[position:] if other not in theirs]
    return result


@dataclass(slots=True)
class Comparison:
    """Which paths an object gained, lost, or has with another value."""

    added: Set = field(default_factory=dict)
    removed: Set = field(default_factory=dict)
    modified: Set = field(default_factory=dict)


def compare(old: Any, new: Any, node: Schema) -> Comparison:
    """What changes from `old` to `new`."""
    result = Comparison()
    _compare(old, new, node, (), result)
    return result


def _compare(old: Any, new: Any, node: Schema, path: Path, result: Comparison) -> None:
    is_new, is_gone = old is _MISSING, new is _MISSING
    if not is_new and not is_gone and old == new and type(old) is type(new):
        return
    before, after = (
        {} if value is _MISSING or value is None else _parts(value, node, path)
        for value in (old, new)
    )
    if before is not None and after is not None and (before or after):
        for element in before.keys() | after.keys():
            pair = before.get(element, _MISSING), after.get(element, _MISSING)
            _compare(*pair, _below(node, element), (*path, element), result)
    elif not is_new and not is_gone:
        insert(result.modified, path)
    if is_new or is_gone:
        insert(result.added if is_new else result.removed, path)


def remove(value: Any, paths: Set, node: Schema) -> Any:
    """The value without the paths of the set and all that is below them."""
    if isinstance(value, dict):
        parts = [(f"f:{key}", item) for key, item in value.items()]
    elif isinstance(value, list) and node.type == s.ARRAY and not node.atomic:
        parts = [(element_of(item, node) or "", item) for item in value]
    else:
        return value
    kept = []
    for element, item in parts:
        below = paths.get(element)
        if below is None:
            kept.append((element, item))
        elif not is_member(below):
            kept.append((element, remove(item, below, _below(node, element))))
    if isinstance(value, dict):
        return {element[2:]: item for element, item in kept}
    return [item for _, item in kept]


def with_named_fields(paths: Set, node: Schema) -> Set:
    """The set with every struct field on the way to a member made a member too."""
    result: Set = {}
    for key, child in paths.items():
        deeper = with_named_fields(child, _below(node, key)) if child else {}
        if key.startswith("f:") and key[2:] in node.properties and deeper and "." not in deeper:
            deeper = {".": {}, **deeper}
        result[key] = deeper
    return result
