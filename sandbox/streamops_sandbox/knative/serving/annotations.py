"""Autoscaling annotations of Revisions and PodAutoscalers."""

from __future__ import annotations

from typing import Any

_PREFIX = "autoscaling.knative.dev/"


def annotation(obj: dict[str, Any], name: str) -> str | None:
    """Return an autoscaling annotation's value; the camelCase names of old are understood."""
    found = obj["metadata"].get("annotations") or {}
    head, *rest = name.split("-")
    camel = head + "".join(part.capitalize() for part in rest)
    value = found.get(_PREFIX + name, found.get(_PREFIX + camel))
    return str(value) if value is not None else None


def scale_bound(obj: dict[str, Any], name: str, default: int) -> int:
    """Return `min-scale`, `max-scale` or `initial-scale`; the webhook has checked it."""
    value = annotation(obj, name)
    return int(value) if value is not None and value.isdigit() else default
