"""Migrates objects of `kubectl apply` (client-side) to a manager of server-side apply.

Without it the fields that kubectl owns stay when a definition leaves them out. The same as client-go's
csaupgrade (k8s.io/client-go/util/csaupgrade), which `kubectl apply --server-side` uses.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from .diff import LAST_APPLIED
from .managed_fields import record

Object = dict[str, Any]


def client_side_entries(live: Object) -> list[Object]:
    """Return the managedFields entries of client-side apply: those that own its annotation."""
    return [
        entry
        for entry in live["metadata"].get("managedFields") or []
        if entry.get("operation") == "Update"
        and not entry.get("subresource")
        and f"f:{LAST_APPLIED}" in _annotations(entry.get("fieldsV1") or {})
    ]


def migrated(live: Object, manager: str) -> list[Object]:
    """Return the managedFields with what client-side apply owns as applied by `manager`."""
    old = client_side_entries(live)
    entries = [
        copy.deepcopy(entry) for entry in live["metadata"]["managedFields"] if entry not in old
    ]
    ours = record({"metadata": {"managedFields": entries}}, manager)
    if ours is None:
        ours = {**copy.deepcopy(old[0]), "manager": manager, "operation": "Apply"}
        entries.append(ours)
    for entry in old:
        ours["fieldsV1"] = _union(ours["fieldsV1"], entry["fieldsV1"])
    return entries


def without_left_out(predicted: Object, live: Object, definition: Object) -> Object:
    """Return a predicted object without what goes after a migration.

    That is what was applied on the client's side, the definition leaves out and no other manager owns.
    Client-side apply owns defaults, too, which the server adds again.
    """
    old = client_side_entries(live)
    theirs: Object = {}
    for entry in live["metadata"].get("managedFields") or []:
        if entry not in old:
            theirs = _union(theirs, entry.get("fieldsV1") or {})
    annotations = live["metadata"].get("annotations") or {}
    try:
        applied = json.loads(annotations.get(LAST_APPLIED, "{}"))
    except ValueError:
        applied = {}
    result = copy.deepcopy(predicted)
    for entry in old:
        _remove(result, entry["fieldsV1"], applied, definition, theirs)
    kept = result["metadata"].get("annotations") or {}
    kept.pop(LAST_APPLIED, None)
    if not kept:
        result["metadata"].pop("annotations", None)
    return result


def _annotations(fields: Object) -> Object:
    metadata: Object = fields.get("f:metadata") or {}
    return metadata.get("f:annotations") or {}


def _union(one: Object, other: Object) -> Object:
    merged = dict(one)
    for key, tree in other.items():
        merged[key] = _union(merged[key], tree) if key in merged else tree
    return merged


def _remove(live: Any, owned: Object, applied: Any, wanted: Any, theirs: Object) -> None:
    for key, tree in owned.items():
        others = theirs.get(key)
        if key.startswith("f:") and isinstance(live, dict) and isinstance(applied, dict):
            name = key[2:]
            if name not in live or name not in applied:
                continue
            kept = wanted.get(name) if isinstance(wanted, dict) else None
            if kept is None and others is None:
                del live[name]
            else:
                _remove(live[name], tree, applied[name], kept, others or {})
        elif key.startswith("k:") and isinstance(live, list) and isinstance(applied, list):
            keys = json.loads(key[2:])
            found, before, kept = (
                next((entry for entry in entries or [] if _has(entry, keys)), None)
                for entries in (live, applied, wanted)
            )
            if found is not None and before is not None and kept is None and others is None:
                live.remove(found)
            elif found is not None:
                _remove(found, tree, before, kept, others or {})


def _has(entry: Any, keys: Object) -> bool:
    """Return whether a list item has these keys; one that it leaves out was filled in by default."""
    return (
        isinstance(entry, dict)
        and any(key in entry for key in keys)
        and all(entry.get(key, value) == value for key, value in keys.items())
    )
