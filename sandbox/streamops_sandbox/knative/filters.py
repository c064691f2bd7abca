"""Trigger filters: `spec.filter.attributes` and the CloudEvents Subscriptions API dialects.

A filter is built once, when its Trigger changes, and called for every event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Filter = Callable[[Mapping[str, str]], bool]


class InvalidFilter(ValueError):
    """A filter that is not one; the message names the field."""


def compile_trigger(spec: Mapping[str, Any]) -> Filter:
    """Return the filter of a Trigger's spec; `filters`, where given, outranks `filter`."""
    if spec.get("filters"):
        return _all([compile_filter(item) for item in spec["filters"]])
    attributes = (spec.get("filter") or {}).get("attributes") or {}
    return lambda event: all(
        name in event and (value in ("", event[name])) for name, value in attributes.items()
    )


def compile_filter(item: Mapping[str, Any]) -> Filter:
    """Return one Subscriptions API filter: an object with exactly one dialect.

    Raises:
        InvalidFilter: for none, several or an unknown dialect, and for CESQL.
    """
    if len(item) != 1:
        raise InvalidFilter("multiple dialects found, filters can have only one dialect set")
    dialect, value = next(iter(item.items()))
    if dialect in _MATCHERS:
        return _attributes(_MATCHERS[dialect], dialect, value)
    if dialect == "all":
        return _all([compile_filter(inner) for inner in value])
    if dialect == "any":
        parts = [compile_filter(inner) for inner in value]
        return lambda event: any(part(event) for part in parts)
    if dialect == "not":
        inner = compile_filter(value)
        return lambda event: not inner(event)
    if dialect == "cesql":
        raise InvalidFilter("cesql: the sandbox does not model CESQL")
    raise InvalidFilter(f"unknown filter dialect {dialect}")


_MATCHERS: dict[str, Callable[[str, str], bool]] = {
    "exact": str.__eq__,
    "prefix": str.startswith,
    "suffix": str.endswith,
}


def _attributes(matches: Callable[[str, str], bool], dialect: str, wanted: object) -> Filter:
    if not isinstance(wanted, dict) or not wanted or not all(wanted.values()):
        raise InvalidFilter(f"{dialect}: needs attribute names with non-empty values")
    return lambda event: all(
        name in event and matches(event[name], value) for name, value in wanted.items()
    )


def _all(parts: list[Filter]) -> Filter:
    return lambda event: all(part(event) for part in parts)
