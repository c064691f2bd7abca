"""The part of Kubernetes' JSONPath that waits need (https://kubernetes.io/docs/reference/kubectl/jsonpath/).

Fields, quoted fields, indexes, `[*]` and filters that compare one field: `{.status.loadBalancer.ingress[0].ip}`,
`{.status.conditions[?(@.type=="Ready")].status}`.
"""

from __future__ import annotations

import json
import re
from typing import Any

_STEP = re.compile(
    r"""\.(?P<field>[\w-]+)
      | \['(?P<single>[^']+)'\] | \["(?P<double>[^"]+)"\]
      | \[(?P<index>-?\d+)\]
      | (?P<every>\[\*\]|\.\*)
      | \[\?\(@\.(?P<key>[\w.-]+)\s*==\s*(?P<value>'[^']*'|"[^"]*"|[\w.-]+)\)\]""",
    re.VERBOSE,
)
Step = tuple[str, Any]


def parse(path: str) -> list[Step]:
    """Return the steps of a path; raises ValueError with the part that is not understood."""
    inner = path.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1].strip()
    inner = inner.removeprefix("$")
    if not inner.startswith((".", "[")):
        inner = f".{inner}"
    steps: list[Step] = []
    position = 0
    while position < len(inner):
        found = _STEP.match(inner, position)
        if not found:
            raise ValueError(f"'{inner[position:]}' is not understood")
        position = found.end()
        name = found["field"] or found["single"] or found["double"]
        if name:
            steps.append(("field", name))
        elif found["index"]:
            steps.append(("index", int(found["index"])))
        elif found["every"]:
            steps.append(("every", None))
        else:
            steps.append(("filter", (found["key"].split("."), found["value"].strip("'\""))))
    return steps


def find(value: Any, steps: list[Step]) -> list[Any]:
    """Return the values at a path, in order; what is missing on the way gives none."""
    found = [value]
    for kind, argument in steps:
        found = [entry for value in found for entry in _step(value, kind, argument)]
    return found


def text(value: Any) -> str:
    """Return a value as kubectl prints it."""
    return value if isinstance(value, str) else json.dumps(value)


def _step(value: Any, kind: str, argument: Any) -> list[Any]:
    if kind == "field":
        return [value[argument]] if isinstance(value, dict) and argument in value else []
    entries = list(value.values()) if isinstance(value, dict) and kind == "every" else value
    if not isinstance(entries, list):
        return []
    if kind == "index":
        return entries[argument : argument + 1 or None]
    if kind == "every":
        return entries
    keys, wanted = argument
    return [
        entry
        for entry in entries
        if [text(part) for part in find(entry, [("field", key) for key in keys])] == [wanted]
    ]
