"""Trigger filters: `spec.filter.attributes`, and the CloudEvents Subscriptions API's dialects but CESQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_MATCHERS: dict[str, Callable[[str, str], bool]] = {
    "exact": str.__eq__,
    "prefix": str.startswith,
    "suffix": str.endswith,
}
_JOINTS = {"all": all, "any": any}


def passes(spec: Mapping[str, Any], event: Mapping[str, str]) -> bool:
    """Tell whether an event is for a Trigger of this spec; `filters`, where given, outrank `filter`."""
    if spec.get("filters"):
        return _matches({"all": spec["filters"]}, event)
    attributes = (spec.get("filter") or {}).get("attributes") or {}
    return all(name in event and value in ("", event[name]) for name, value in attributes.items())


def problem(item: Mapping[str, Any]) -> str:
    """Return what is wrong with one of `filters`, or an empty text."""
    if len(item) != 1:
        return "multiple dialects found, filters can have only one dialect set"
    ((dialect, value),) = item.items()
    if dialect in _MATCHERS:
        filled = isinstance(value, dict) and value and all(value.values())
        return "" if filled else f"{dialect}: needs attribute names with non-empty values"
    if dialect == "not" or dialect in _JOINTS:
        return next(filter(None, map(problem, [value] if dialect == "not" else value)), "")
    return f"the sandbox does not model the dialect {dialect}"


def _matches(item: Mapping[str, Any], event: Mapping[str, str]) -> bool:
    ((dialect, value),) = item.items()
    if dialect == "not":
        return not _matches(value, event)
    if dialect in _JOINTS:
        return _JOINTS[dialect](_matches(inner, event) for inner in value)
    matches = _MATCHERS[dialect]
    return all(name in event and matches(event[name], wanted) for name, wanted in value.items())
