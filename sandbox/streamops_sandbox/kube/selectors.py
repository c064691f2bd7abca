"""Label and field selectors.

Grammar and messages follow k8s.io/apimachinery/pkg/labels and .../fields.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from streamops_sandbox.kube import errors, names
from streamops_sandbox.objects import Object, at

if TYPE_CHECKING:
    from streamops_sandbox.kube.resources import Resource

_TOKEN = re.compile(r"\s*(==|!=|[=!<>(),]|[^\s=!<>(),]+|\Z)")
_NO_NAMES = ("", "=", "==", "!=", "!", "<", ">", "(", ")", ",")
_OPERATORS = {
    "in": "In", "notin": "NotIn", "=": "In", "==": "In", "!=": "NotIn", "<": "Lt", ">": "Gt",
}  # fmt: skip


class _Parser:
    """Recursive descent over the tokens of a label selector; "" is the end of the string."""

    def __init__(self, text: str) -> None:
        self._tokens = [found[1] for found in _TOKEN.finditer(text)] + [""]
        self._next = 0

    def _take(self, expected: str, *allowed: str, sign: str = ", ") -> str:
        """Return the next token: a name, or where some are named, one of those; raises a 400."""
        token = self._tokens[self._next]
        if token not in allowed if allowed else token in _NO_NAMES:
            raise _unparsed(f"found '{token}'{sign}expected: {expected}")
        self._next += 1
        return token

    def parse(self) -> list[dict[str, Any]]:
        """Return all requirements."""
        found: list[dict[str, Any]] = []
        while self._tokens[self._next] or found:
            found.append(self._requirement(first=not found))
            if not self._take("',' or 'end of string'", ",", ""):
                break
        return found

    def _requirement(self, *, first: bool) -> dict[str, Any]:
        absent = self._tokens[self._next] == "!"
        self._next += absent
        start = "!, identifier, or 'end of string'" if first else "identifier after ','"
        key = self._take("identifier" if absent else start)
        for problem in names.label_key_problems(key):
            raise _unparsed(f'<nil>: Invalid value: "{key}": {problem}')
        if absent or self._tokens[self._next] in ("", ","):
            operator, values = "DoesNotExist" if absent else "Exists", []
        else:
            token = self._take("in, notin, =, ==, !=, gt, lt", *_OPERATORS)
            operator, values = _OPERATORS[token], self._values(token)
        for index, value in enumerate(values):
            if operator in ("Gt", "Lt") and not value.isdigit():
                why = "for 'Gt', 'Lt' operators, the value must be an integer"
                raise _unparsed(f'values[{index}]: Invalid value: "{value}": {why}')
            for problem in names.label_value_problems(value):
                raise _unparsed(f'values[{index}][{key}]: Invalid value: "{value}": {problem}')
        return {"key": key, "operator": operator, "values": values}

    def _values(self, operator: str) -> list[str]:
        if operator not in ("in", "notin"):
            return [""] if self._tokens[self._next] in ("", ",") else [self._take("identifier")]
        self._take("'('", "(", sign=" ")
        values = []
        while self._tokens[self._next] != ")":
            is_empty = self._tokens[self._next] == ","
            values.append("" if is_empty else self._take("',', ')' or identifier"))
            if self._tokens[self._next] != ")":
                self._take("',' or ')'", ",")
        self._next += 1
        return sorted(set(values))


def _unparsed(why: str) -> errors.StatusError:
    return errors.bad_request(f"unable to parse requirement: {why}")


def parse_labels(text: str) -> dict[str, Any]:
    """Return `a=b,c in (d,e),!f` as a `LabelSelector`; raises a 400."""
    expressions = _Parser(text).parse() if text.strip() else []
    return {"matchExpressions": expressions} if expressions else {}


#: Equality tests on fields that a type allows: (field, whether it has to be equal, value).
FieldTerms = list[tuple[str, bool, str]]


def parse_fields(text: str, resource: Resource) -> FieldTerms:
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
    return terms


def read_field(obj: Object, path: str) -> str:
    """A selectable field's value as text; absent is the empty string."""
    value = at(obj, path)
    if value is None:
        return "false" if path in ("spec.unschedulable", "spec.hostNetwork") else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
