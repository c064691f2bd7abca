"""JSON objects: what the APIs' resources are here."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def at(obj: Object, path: str) -> Any:
    """Return the value at a dotted path, or None."""
    value: Any = obj
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value
