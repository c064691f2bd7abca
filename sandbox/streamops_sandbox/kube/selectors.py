"""Label and field selectors.

Grammar and messages follow k8s.io/apimachinery/pkg/labels and .../fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from streamops_sandbox import label_selectors
from streamops_sandbox.kube import errors

if TYPE_CHECKING:
    from streamops_sandbox.kube.resources import Resource

Labels = Mapping[str, str]

_REQUIREMENT = re.compile(
    r"\s*(?P<absent>!)?\s*(?P<key>[^\s,=!()<>]+)\s*"
    r"(?:(?P<op>==|=|!=|<|>)\s*(?P<value>[^\s,()]*)|\s(?P<setop>in|notin)\s*\((?P<set>[^)]*)\))?"
    r"\s*(?:,|$)"
)
_OPERATORS = {
    "in": "In",
    "notin": "NotIn",
    "=": "In",
    "==": "In",
    "!=": "NotIn",
    "<": "Lt",
    ">": "Gt",
}


class LabelSelector:
    """A `LabelSelector` object (matchLabels, matchExpressions); an empty one selects everything."""

    def __init__(self, terms: Mapping[str, Any]) -> None:
        self._terms = dict(terms)

    def matches(self, labels: Labels) -> bool:
        """Tell whether an object with these labels is selected."""
        return not self._terms or label_selectors.matches(self._terms, labels)

    def __bool__(self) -> bool:
        return bool(self._terms)


def from_object(selector: Mapping[str, Any] | None) -> LabelSelector:
    """Return a `LabelSelector` object as a selector."""
    return LabelSelector(selector or {})


def parse_labels(text: str) -> LabelSelector:
    """Parse `a=b,c in (d,e),!f`; raises a 400."""
    expressions = []
    position = 0
    while position < len(text):
        found = _REQUIREMENT.match(text, position)
        if not found or found.end() == position:
            raise errors.bad_request(
                f"unable to parse requirement: found '{text[position:]}', expected: identifier or !"
            )
        operator = found["op"] or found["setop"]
        given = (found["set"] or "").split(",") if found["setop"] else [found["value"] or ""]
        absent = "DoesNotExist" if found["absent"] else "Exists"
        expressions.append(
            {
                "key": found["key"],
                "operator": _OPERATORS[operator] if operator else absent,
                "values": [value.strip() for value in given] if operator else [],
            }
        )
        position = found.end()
    return LabelSelector({"matchExpressions": expressions} if expressions else {})


class FieldSelector:
    """Equality tests on a few fields that the type allows."""

    def __init__(self, terms: list[tuple[str, bool, str]]) -> None:
        self._terms = terms

    def matches(self, read: Callable[[str], str]) -> bool:
        """Tell whether the object whose fields `read` returns is selected."""
        return all((read(field) == value) is equal for field, equal, value in self._terms)

    def __bool__(self) -> bool:
        return bool(self._terms)


def parse_fields(text: str, resource: Resource) -> FieldSelector:
    """Parse `metadata.name=a,status.phase!=Running`; raises a 400."""
    terms = []
    for part in filter(None, re.split(r"(?<!\\),", text)):
        found = re.match(r"([^=!]+)(==|!=|=)(.*)\Z", part, re.DOTALL)
        if not found:
            raise errors.bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        field, op, value = found.groups()
        if field not in ("metadata.name", "metadata.namespace", *resource.selectable_fields):
            if resource.custom or resource.selectable_fields:
                raise errors.bad_request(f"field label not supported: {field}")
            names = '"metadata.name", "metadata.namespace"'
            raise errors.bad_request(f'"{field}" is not a known field selector: only {names}')
        terms.append((field, op != "!=", re.sub(r"\\(.)", r"\1", value)))
    return FieldSelector(terms)


def read_field(obj: Mapping[str, Any], path: str) -> str:
    """A selectable field's value as text; absent is the empty string."""
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None:
        return "false" if path in ("spec.unschedulable", "spec.hostNetwork") else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
