"""What the printed columns of built-in kinds are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamops_sandbox.kube import clock

Json = dict[str, Any]
NONE = "<none>"
UNSET = "<unset>"


@dataclass(frozen=True, slots=True)
class BuiltinColumn:
    """A column and how to read it; `priority` 1 is shown by `-o wide` only."""

    name: str
    read: Callable[[Json], Any]
    type: str = "string"
    priority: int = 0


Columns = tuple[BuiltinColumn, ...]


def at(obj: Json, *path: str) -> Any:
    """What stands at a path of keys; None where nothing does."""
    value: Any = obj
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def field_at(*path: str, default: Any = "") -> Callable[[Json], Any]:
    """Reader of a field."""

    def read(obj: Json) -> Any:
        value = at(obj, *path)
        return default if value is None else value

    return read


def count_at(*path: str) -> Callable[[Json], int]:
    """Reader of the number of entries of a list or map."""
    return lambda obj: len(at(obj, *path) or ())


def _age(obj: Json) -> str:
    return clock.age(obj["metadata"].get("creationTimestamp"))


def labels_text(labels: Json | None) -> str:
    """Labels in one line."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def selector_at(*path: str) -> Callable[[Json], str]:
    """Reader of a selector, in one line."""

    def read(obj: Json) -> str:
        selector = at(obj, *path) or {}
        if "matchLabels" not in selector and "matchExpressions" not in selector:
            return labels_text(selector)
        parts = [labels_text(selector["matchLabels"])] if selector.get("matchLabels") else []
        for item in selector.get("matchExpressions") or []:
            values = ",".join(item.get("values") or [])
            text = {
                "In": f"{item['key']} in ({values})",
                "NotIn": f"{item['key']} notin ({values})",
                "Exists": item["key"],
                "DoesNotExist": f"!{item['key']}",
            }
            parts.append(text[item["operator"]])
        return ",".join(parts) or NONE

    return read


def containers_at(template: tuple[str, ...], what: str) -> Callable[[Json], str]:
    """Reader of a field of all containers."""

    def read(obj: Json) -> str:
        return ",".join(item.get(what, "") for item in at(obj, *template) or [])

    return read


AGE = BuiltinColumn("Age", _age)


def wide(name: str, read: Callable[[Json], Any]) -> BuiltinColumn:
    """A column that only `-o wide` shows."""
    return BuiltinColumn(name, read, priority=1)


def number_at(name: str, *path: str) -> BuiltinColumn:
    """A column of whole numbers, 0 where there is none."""
    return BuiltinColumn(name, field_at(*path, default=0), "integer")
