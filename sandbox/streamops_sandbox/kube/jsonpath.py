"""The part of kubectl's JSONPath that printer columns use: fields, indexes, filters, wildcards."""

from __future__ import annotations

import re
from typing import Any

_STEP = re.compile(
    r"""\.?(?P<field>(?:\\.|[^.\[\]])+)
      | \[(?P<index>-?\d+|\*)\]
      | \[['"](?P<quoted>[^'"]*)['"]\]
      | \[\?\(@\.(?P<left>[^=!\s]+)\s*(?P<op>==|!=)\s*(?P<quote>['"]?)(?P<right>[^'")]*)(?P=quote)\)\]
    """,
    re.VERBOSE,
)


def find(obj: Any, path: str) -> list[Any]:
    """Return all values at a path; none where it does not exist or is not understood."""
    values, position = [obj], 0
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            return []
        values = [item for value in values for item in _taken(value, step)]
        position = step.end()
    return values


def _taken(value: Any, step: re.Match[str]) -> list[Any]:
    name = (step["field"] or step["quoted"] or "*").replace("\\.", ".")
    if name != "*":
        return [value[name]] if isinstance(value, dict) and name in value else []
    items = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(items, list):
        return []
    if step["left"]:
        equal = step["op"] == "=="
        return [
            item
            for item in items
            if isinstance(item, dict)
            and (str(item.get(step["left"], "")) == step["right"]) is equal
        ]
    return items[int(step["index"]) :][:1] if step["index"] not in (None, "*") else items
