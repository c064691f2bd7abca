"""Sets of field paths, in the form `metadata.managedFields[].fieldsV1` has.

A set is a trie of dicts. Its keys are path elements: `f:name` (a field or map key),
`k:{"name":"x"}` (an item of an associative list), `v:"x"` (an item of a set), `i:0` (an index).
A child `{}` is a member without children; `"."` marks a member that has children too.
Format: sigs.k8s.io/structured-merge-diff/fieldpath.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

Set = dict[str, Any]
Path = tuple[str, ...]

_SELF = "."


def is_member(node: Set) -> bool:
    """Whether a child node stands for a path in the set, not just for paths below it."""
    return not node or _SELF in node


def _children(node: Set) -> Set:
    if _SELF not in node:
        return node
    return {key: child for key, child in node.items() if key != _SELF}


def _join(member: bool, children: Set) -> Set | None:
    if not children:
        return {} if member else None
    return {_SELF: {}, **children} if member else children


def union(left: Set, right: Set) -> Set:
    """Paths that are in either set."""
    if not left or not right:
        return left or right
    result = dict(left)
    for key, node in right.items():
        mine = result.get(key)
        if mine is None:
            result[key] = node
        elif key != _SELF and mine is not node:
            member = is_member(mine) or is_member(node)
            result[key] = _join(member, union(_children(mine), _children(node))) or {}
    return result


def difference(left: Set, right: Set) -> Set:
    """Paths of the first set that are not in the second; children are judged by themselves."""
    if not right:
        return left
    result: Set = {}
    for key, node in left.items():
        other = right.get(key)
        if other is None:
            result[key] = node
            continue
        member = is_member(node) and not is_member(other)
        rest = _join(member, difference(_children(node), _children(other)))
        if rest is not None:
            result[key] = rest
    return result


def intersection(left: Set, right: Set) -> Set:
    """Paths that are in both sets."""
    result: Set = {}
    for key, node in left.items():
        other = right.get(key)
        if other is None:
            continue
        member = is_member(node) and is_member(other)
        both = _join(member, intersection(_children(node), _children(other)))
        if both is not None:
            result[key] = both
    return result


def insert(target: Set, path: Path) -> None:
    """Add a path in place. The empty path (the whole object) is never tracked."""
    node = target
    for depth, key in enumerate(path):
        child = node.get(key)
        if child is None:
            # An inner node is not a member; left empty, it would be read as one.
            for new in path[depth:]:
                node[new] = node = {}
            return
        if bool(child) is (depth == len(path) - 1):
            child[_SELF] = {}
        node = child


def paths(node: Set, prefix: Path = ()) -> Iterator[Path]:
    """All paths of the set, parents before their children."""
    for key, child in node.items():
        if key == _SELF:
            continue
        path = (*prefix, key)
        if is_member(child):
            yield path
        yield from paths(child, path)


def key_element(values: dict[str, Any]) -> str:
    """`k:{...}` of an associative list's item."""
    return "k:" + _json(dict(sorted(values.items())))


def value_element(value: Any) -> str:
    """`v:...` of a set's item."""
    return "v:" + _json(value)


def _json(value: Any) -> str:
    text: str = orjson.dumps(value).decode()
    # Go's encoder escapes these for HTML's sake.
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def describe(path: Path) -> str:
    """A path as error messages show it: `.spec.containers[name="x"].image`."""
    text = ""
    for element in path:
        kind, _, rest = element.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "k":
            pairs = ",".join(
                f"{key}={orjson.dumps(value).decode()}" for key, value in orjson.loads(rest).items()
            )
            text += f"[{pairs}]"
        elif kind == "v":
            text += f"[={rest}]"
        else:
            text += f"[{rest}]"
    return text
