"""Human-readable difference between two states of an object, without secrets."""

from __future__ import annotations

import copy
from typing import Any

from .._yaml import dump

Object = dict[str, Any]
MASK = "********"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# Written by the server on every change, or by others all the time.
_BOOKKEEPING = ("resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")
# So are these annotations: the number of a rollout, and what GKE Autopilot made of a request.
_RECORDS = (
    "deployment.kubernetes.io/revision",
    "autopilot.gke.io/resource-adjustment",
    "autopilot.gke.io/warden-version",
)


def changed(before: Object, after: Object) -> bool:
    """Return whether a write made a difference: contents, or which manager owns what."""
    return _content(before) != _content(after) or _owners(before) != _owners(after)


def _owners(obj: Object) -> list[Object]:
    """Return who applied what, without times: they say when, not what."""
    entries = [
        {key: value for key, value in entry.items() if key != "time"}
        for entry in obj["metadata"].get("managedFields") or []
        if entry.get("operation") == "Apply" and not entry.get("subresource")
    ]
    return sorted(entries, key=lambda entry: str(entry.get("manager")))


def _content(obj: Object) -> Object:
    content = {key: value for key, value in obj.items() if key != "status"}
    content["metadata"] = {
        key: value
        for key, value in obj["metadata"].items()
        if key not in _BOOKKEEPING and key != "managedFields"
    }
    annotations = content["metadata"].pop("annotations", None) or {}
    kept = {key: value for key, value in annotations.items() if key not in _RECORDS}
    if kept:
        content["metadata"]["annotations"] = kept
    return content


def readable(obj: Object | None) -> Object:
    """Return the object as a person would write it, secret values masked; empty for None."""
    if obj is None:
        return {}
    content = copy.deepcopy(_content(obj))
    annotations = content["metadata"].get("annotations") or {}
    annotations.pop(LAST_APPLIED, None)
    if not annotations:
        content["metadata"].pop("annotations", None)
    if content.get("kind") == "Secret":
        for part in ("data", "stringData"):
            content[part] = dict.fromkeys(content[part], MASK) if content.get(part) else {}
            if not content[part]:
                del content[part]
    return content


def difference(before: Object | None, after: Object | None, title: str) -> dict[str, str]:
    """Return one entry of Ansible's diff. Changed secret values stay masked but are seen to change."""
    old, new = readable(before), readable(after)
    if before and after and before.get("kind") == "Secret":
        for key, value in (after.get("data") or {}).items():
            earlier = (before.get("data") or {}).get(key)
            if earlier is not None and earlier != value:
                new["data"][key] = f"{MASK} (changed)"
    if old == new:
        old, new = ({"field owners": _names(before)}, {"field owners": _names(after)})
    return {
        "before": dump(old) if old else "",
        "after": dump(new) if new else "",
        "before_header": title,
        "after_header": title,
    }


def _names(obj: Object | None) -> list[str]:
    return [entry["manager"] for entry in _owners(obj)] if obj else []
