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
Match = Callable[[Labels], bool]

_REQUIREMENT = re.compile(
    r"\s*(?P<absent>!)?\s*(?P<key>[^\s,=!()<>]+)\s*"
    r"(?:(?P<op>==|=|!=|<|>)\s*(?P<value>[^\s,()]*)|\s(?P<setop>in|notin)\s*\((?P<set>[^)]*)\))?"
    r"\s*(?:,|$)"
)


class LabelSelector:
    """All requirements have to hold."""

    def __init__(self, requirements: list[Match]) -> None:
        self._requirements = requirements

    def matches(self, labels: Labels) -> bool:
        """Whether an object with these labels is selected."""
        return all(requirement(labels) for requirement in self._requirements)

    def __bool__(self) -> bool:
        return bool(self._requirements)


def parse_labels(text: str) -> LabelSelector:
    """Parse `a=b,c in (d,e),!f`; raises a 400."""
    requirements: list[Match] = []
    position = 0
    while position < len(text):
        found = _REQUIREMENT.match(text, position)
        if not found or found.end() == position:
            raise errors.bad_request(
                f"unable to parse requirement: found '{text[position:]}', expected: identifier or !"
            )
        requirements.append(_requirement(found))
        position = found.end()
    return LabelSelector(requirements)


def _requirement(found: re.Match[str]) -> Match:
    key, op = found["key"], found["op"] or found["setop"] or ""
    if op in ("in", "notin"):
        values = frozenset(value.strip() for value in found["set"].split(","))
        return _in(key, values) if op == "in" else _not_in(key, values)
    if op in ("<", ">"):
        return _compare(key, op, found["value"])
    if op:
        values = frozenset([found["value"]])
        return _not_in(key, values) if op == "!=" else _in(key, values)
    return _absent(key) if found["absent"] else _exists(key)


def _in(key: str, values: frozenset[str]) -> Match:
    return lambda labels: labels.get(key) in values


def _not_in(key: str, values: frozenset[str]) -> Match:
    return lambda labels: labels.get(key) not in values


def _exists(key: str) -> Match:
    return lambda labels: key in labels


def _absent(key: str) -> Match:
    return lambda labels: key not in labels


def _compare(key: str, op: str, bound: str) -> Match:
    def holds(labels: Labels) -> bool:
        try:
            value, limit = int(labels.get(key, "")), int(bound)
        except ValueError:
            return False
        return value > limit if op == ">" else value < limit

    return holds


def from_object(selector: Mapping[str, Any] | None) -> LabelSelector:
    """Return a `LabelSelector` object (matchLabels, matchExpressions) as a selector; empty selects everything."""
    if not selector:
        return LabelSelector([])
    terms = dict(selector)
    return LabelSelector([lambda labels: label_selectors.matches(terms, labels)])


class FieldSelector:
    """Equality tests on a few fields that the type allows."""

    def __init__(self, terms: list[tuple[str, bool, str]]) -> None:
        self._terms = terms

    def matches(self, read: Callable[[str], str]) -> bool:
        """Whether the object whose fields `read` returns is selected."""
        return all((read(field) == value) is equal for field, equal, value in self._terms)

    def __bool__(self) -> bool:
        return bool(self._terms)

    @property
    def name(self) -> str | None:
        """The one name that can match, where the selector says so."""
        for field, equal, value in self._terms:
            if field == "metadata.name" and equal:
                return value
        return None


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
