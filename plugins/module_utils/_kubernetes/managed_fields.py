"""Reads managedFields: would applying this definition again change anything?

The API server records which fields each manager applied (FieldsV1, described in
https://kubernetes.io/docs/reference/using-api/server-side-apply/). When our record holds exactly the
fields of a definition and the live object has exactly its values, the server would find nothing to
do, and the request can be saved. Whenever this is not certain the answer is no, and the server is
asked.
"""

from __future__ import annotations

import json
from typing import Any

Object = dict[str, Any]
_IDENTITY = ("apiVersion", "kind")
_IDENTITY_META = ("name", "namespace")


def is_applied(definition: Object, live: Object, manager: str) -> bool:
    """Return whether `manager` applied exactly this definition and nobody changed its values since."""
    wanted = {key: value for key, value in definition.items() if key not in _IDENTITY}
    metadata = {
        key: value for key, value in definition["metadata"].items() if key not in _IDENTITY_META
    }
    wanted["metadata"] = metadata
    if not metadata:
        del wanted["metadata"]
    entry = record(live, manager)
    if entry is None:
        return not wanted  # who asks for nothing but existence owns no field
    if entry.get("apiVersion") != definition["apiVersion"]:
        return False
    return _same_map(wanted, live, entry["fieldsV1"], top=True)


def record(live: Object, manager: str) -> Object | None:
    """Return the managedFields entry of what `manager` applied to the object itself."""
    for entry in live["metadata"].get("managedFields") or []:
        if (
            entry.get("manager") == manager
            and entry.get("operation") == "Apply"
            and not entry.get("subresource")
            and entry.get("fieldsType") == "FieldsV1"
        ):
            found: Object = entry
            return found
    return None


def _same(wanted: Any, live: Any, owned: Object) -> bool:
    children = {key: tree for key, tree in owned.items() if key != "."}
    if not children:
        # A leaf: a scalar, something atomic, or an empty map or list.
        return _equal(_defaulted(wanted, live), live)
    if isinstance(wanted, dict) and isinstance(live, dict):
        return _same_map(wanted, live, owned)
    if isinstance(wanted, list) and isinstance(live, list):
        if next(iter(children)).startswith("v:"):
            return _same_set(wanted, live, children)
        return _same_keyed(wanted, live, children)
    return False


def _defaulted(wanted: Any, live: Any) -> Any:
    """Return an ObjectFieldSelector, which is atomic, with the default that the server sets within."""
    is_selector = isinstance(wanted, dict) and wanted.keys() == {"fieldPath"}
    is_defaulted = isinstance(live, dict) and "apiVersion" in live
    return {"apiVersion": "v1", **wanted} if is_selector and is_defaulted else wanted


def _same_map(wanted: Object, live: Object, owned: Object, *, top: bool = False) -> bool:
    fields = {key[2:]: tree for key, tree in owned.items() if key.startswith("f:")}
    if fields.keys() != wanted.keys() or (top and "." in owned):
        return False
    return all(
        _same(value, live[key], fields[key]) if key in live else _dropped(value, fields[key])
        for key, value in wanted.items()
    )


def _dropped(wanted: Any, owned: Object) -> bool:
    """Return whether the server left an empty value (a map, list or text, 0, false) out, as built-in kinds do.

    Had somebody else removed the field since, the record would have lost it too.
    """
    return not owned and wanted is not None and not wanted


def _same_set(wanted: list[Any], live: list[Any], owned: Object) -> bool:
    values = [json.loads(key[2:]) for key in owned if key.startswith("v:")]
    if len(values) != len(wanted) or not all(value in values for value in wanted):
        return False
    return all(value in live for value in wanted)


def _same_keyed(wanted: list[Any], live: list[Any], owned: Object) -> bool:
    """Compare lists of maps that are merged by keys, as containers by name."""
    trees = [(json.loads(key[2:]), tree) for key, tree in owned.items() if key.startswith("k:")]
    if len(trees) != len(wanted) or len(trees) != len(owned):
        return False
    for item in wanted:
        if not isinstance(item, dict):
            return False
        found = _match(item, trees)
        if found is None:
            return False
        keys, tree = found
        others = [
            entry for entry in live if isinstance(entry, dict) and keys.items() <= entry.items()
        ]
        if len(others) != 1 or not _same_map(item, others[0], tree):
            return False
    return True


def _match(item: Object, trees: list[tuple[Object, Object]]) -> tuple[Object, Object] | None:
    """Return the tree of a list item; a key the item leaves out was filled in by its default."""
    found = [
        (keys, tree)
        for keys, tree in trees
        if all(item.get(key, value) == value for key, value in keys.items())
    ]
    return found[0] if len(found) == 1 else None


def _equal(wanted: Any, live: Any) -> bool:
    """Return whether two values are equal as JSON: 1 is not true."""
    if isinstance(wanted, bool) or isinstance(live, bool):
        return wanted is live
    if isinstance(wanted, dict) and isinstance(live, dict):
        return wanted.keys() == live.keys() and all(
            _equal(value, live[key]) for key, value in wanted.items()
        )
    if isinstance(wanted, list) and isinstance(live, list):
        return len(wanted) == len(live) and all(
            _equal(*pair) for pair in zip(wanted, live, strict=True)
        )
    return type(wanted) is type(live) and bool(wanted == live)
