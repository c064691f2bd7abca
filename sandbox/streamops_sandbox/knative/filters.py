"""Trigger filters: `spec.filter.attributes` and, of the CloudEvents Subscriptions API's dialects, `exact`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DIALECT = "exact"


def passes(spec: Mapping[str, Any], event: Mapping[str, str]) -> bool:
    """Tell whether an event is for a Trigger of this spec; `filters`, where given, outrank `filter`."""
    if spec.get("filters"):
        wanted = [pair for item in spec["filters"] for pair in item[DIALECT].items()]
        return all(event.get(name) == value for name, value in wanted)
    attributes = (spec.get("filter") or {}).get("attributes") or {}
    return all(name in event and value in ("", event[name]) for name, value in attributes.items())
