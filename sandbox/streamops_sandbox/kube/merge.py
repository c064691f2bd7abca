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


def _shape(value: Any, other: Any, node: Schema) -> str:
    """`map`, `list` or `leaf`: how to walk these values; the values decide where types are free."""
    sample = other if value is _MISSING or value is None else value
    if node.atomic:
        return "leaf"
    if isinstance(sample, dict):
        return "map"
    if isinstance(sample, list) and node.type == s.ARRAY:
        return "list"
    return "leaf"


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
            value = field_schema.default if field_schema.has_default else None
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


def _collect(value: Any, node: Schema, path: Path, result: Set) -> None:
    shape = _shape(value, None, node)
    if shape == "map":
        for key, item in value.items():
            below = (*path, f"f:{key}")
            _collect(item, node.child(key) or FREE, below, result)
            if item is None or item == {} or key not in node.properties:
                insert(result, below)
    elif shape == "list":
        for element, item in keyed(value, node, path, unique=True).items():
            below = (*path, element)
            _collect(item, node.element(), below, result)
            insert(result, below)
    else:
        insert(result, path)


def merge(live: Any, config: Any, node: Schema, path: Path = ()) -> Any:
    """The live value with the configuration laid over it; neither is changed."""
    if config is _MISSING:
        return live
    if live is _MISSING or live is None or live == config:
        return config
    shape = _shape(config, live, node)
    if shape == "map" and isinstance(live, dict) and isinstance(config, dict):
        merged = dict(live)
        for key, item in config.items():
            merged[key] = merge(
                live.get(key, _MISSING), item, node.child(key) or FREE, (*path, f"f:{key}")
            )
        return merged
    if shape == "list" and isinstance(live, list) and isinstance(config, list):
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
    if old is not _MISSING and new is not _MISSING and old == new and type(old) is type(new):
        return
    shape = _shape(new, old, node)
    if shape == "map" and _both(dict, old, new) and (_filled(old) or _filled(new)):
        before, after = _or_empty(old, {}), _or_empty(new, {})
        for key in before.keys() | after.keys():
            _compare(
                before.get(key, _MISSING),
                after.get(key, _MISSING),
                node.child(key) or FREE,
                (*path, f"f:{key}"),
                result,
            )
    elif shape == "list" and _both(list, old, new) and (_filled(old) or _filled(new)):
        before = keyed(_or_empty(old, []), node, path)
        after = keyed(_or_empty(new, []), node, path)
        for element in before.keys() | after.keys():
            _compare(
                before.get(element, _MISSING),
                after.get(element, _MISSING),
                node.element(),
                (*path, element),
                result,
            )
    elif old is not _MISSING and new is not _MISSING:
        insert(result.modified, path)
    if old is _MISSING:
        insert(result.added, path)
    elif new is _MISSING:
        insert(result.removed, path)


def _both(kind: type, old: Any, new: Any) -> bool:
    return all(
        value is _MISSING or value is None or isinstance(value, kind) for value in (old, new)
    )


def _filled(value: Any) -> bool:
    return value is not _MISSING and bool(value)


def _or_empty(value: Any, empty: Any) -> Any:
    return empty if value is _MISSING or value is None else value


def remove(value: Any, paths: Set, node: Schema) -> Any:
    """The value without the paths of the set and all that is below them."""
    if isinstance(value, dict):
        kept: dict[str, Any] = {}
        for key, item in value.items():
            below = paths.get(f"f:{key}")
            if below is None:
                kept[key] = item
            elif not is_member(below):
                kept[key] = remove(item, below, node.child(key) or FREE)
        return kept
    if isinstance(value, list) and _shape(value, None, node) == "list":
        left = []
        for item in value:
            below = paths.get(element_of(item, node) or "")
            if below is None:
                left.append(item)
            elif not is_member(below):
                left.append(remove(item, below, node.element()))
        return left
    return value


def with_named_fields(paths: Set, node: Schema) -> Set:
    """The set with every struct field on the way to a member made a member too."""
    result: Set = {}
    for key, child in paths.items():
        if key == ".":
            result[key] = child
            continue
        kind, _, name = key.partition(":")
        below = (node.child(name) if kind == "f" else node.element()) or FREE
        deeper = with_named_fields(child, below) if child else {}
        if kind == "f" and name in node.properties and deeper and "." not in deeper:
            deeper = {".": {}, **deeper}
        result[key] = deeper
    return result
