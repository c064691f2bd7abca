"""The part of kubectl's JSONPath that printer columns use: fields, indexes, filters, wildcards."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

_TOKEN = re.compile(
    r"""\.(?P<field>(?:\\.|[^.\[\]])+)
      | \[(?P<index>-?\d+)\]
      | \[(?P<all>\*)\]
      | \[['"](?P<quoted>[^'"]*)['"]\]
      | \[\?\(@\.(?P<left>[^=!\s]+)\s*(?P<op>==|!=)\s*(?P<quote>['"]?)(?P<right>[^'")]*)(?P=quote)\)\]
    """,
    re.VERBOSE,
)


@lru_cache(maxsize=256)
def _parse(path: str) -> tuple[tuple[str, Any], ...]:
    path = path if path.startswith((".", "[")) else f".{path}"
    steps: list[tuple[str, Any]] = []
    position = 0
    while position < len(path):
        found = _TOKEN.match(path, position)
        if not found:
            return (("none", None),)
        if found["field"] is not None:
            name = found["field"].replace("\\.", ".")
            steps.append(("all", None) if name == "*" else ("field", name))
        elif found["index"] is not None:
            steps.append(("index", int(found["index"])))
        elif found["all"]:
            steps.append(("all", None))
        elif found["quoted"] is not None:
            steps.append(("field", found["quoted"]))
        else:
            steps.append(("filter", (found["left"], found["op"], found["right"])))
        position = found.end()
    return tuple(steps)


def find(obj: Any, path: str) -> list[Any]:
    """All values at a path; none where it does not exist or is not understood."""
    values = [obj]
    for kind, argument in _parse(path):
        values = [item for value in values for item in _step(value, kind, argument)]
    return values


def _step(value: Any, kind: str, argument: Any) -> list[Any]:
    if kind == "field":
        return [value[argument]] if isinstance(value, dict) and argument in value else []
    if kind == "index" and isinstance(value, list):
        return [value[argument]] if -len(value) <= argument < len(value) else []
    if kind == "all":
        if isinstance(value, dict):
            return list(value.values())
        return list(value) if isinstance(value, list) else []
    if kind == "filter" and isinstance(value, list):
        left, op, right = argument
        return [
            item
            for item in value
            if isinstance(item, dict) and (str(item.get(left, "")) == right) is (op == "==")
        ]
    return []
