"""Label selectors in their structured form (`matchLabels`, `matchExpressions`)."""

from __future__ import annotations

from collections.abc import Mapping

from streamops_sandbox.objects import Object


def matches(selector: Object | None, labels: Mapping[str, str] | None) -> bool:
    """Return whether labels satisfy a LabelSelector: None selects nothing, {} everything."""
    if selector is None:
        return False
    labels = labels or {}
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_holds(entry, labels) for entry in selector.get("matchExpressions") or [])


def matches_map(selector: Mapping[str, str] | None, labels: Mapping[str, str] | None) -> bool:
    """Return whether labels contain all of a plain map selector (a Service's); an empty one selects nothing."""
    return bool(selector) and matches({"matchLabels": selector}, labels)


def _holds(expression: Object, labels: Mapping[str, str]) -> bool:
    key, operator = expression["key"], expression["operator"]
    values = expression.get("values") or []
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    if operator in ("Gt", "Lt"):
        try:
            value, bound = int(labels.get(key, "")), int(values[0])
        except ValueError:
            return False
        return value > bound if operator == "Gt" else value < bound
    raise ValueError(f'"{operator}" is not a valid label selector operator')
