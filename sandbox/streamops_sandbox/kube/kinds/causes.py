"""Violations of an object's rules, worded as k8s.io/apimachinery/pkg/util/validation/field does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from streamops_sandbox.kube import errors, names
from streamops_sandbox.objects import Object


def show(value: object) -> str:
    """Return a value as an error message shows it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class Causes(list[Object]):
    """The violations found so far, in the order of the checks: entries of `details.causes`."""

    def _add(self, reason: str, field: str, message: str) -> None:
        self.append(errors.cause(f"FieldValue{reason}", field, message))

    def required(self, field: str, why: str = "") -> None:
        """Report a missing value."""
        self._add("Required", field, "Required value" + (f": {why}" if why else ""))

    def invalid(self, field: str, value: object, why: str) -> None:
        """Report a value that breaks a rule."""
        self._add("Invalid", field, f"Invalid value: {show(value)}: {why}")

    def unsupported(self, field: str, value: object, allowed: Iterable[object]) -> None:
        """Report a value that is none of those allowed."""
        listed = ", ".join(map(show, allowed))
        self._add(
            "NotSupported", field, f"Unsupported value: {show(value)}: supported values: {listed}"
        )

    def forbidden(self, field: str, why: str) -> None:
        """Report a field that may not be set or changed here."""
        self._add("Forbidden", field, f"Forbidden: {why}")

    def duplicate(self, field: str, value: object) -> None:
        """Report the second occurrence of a value that has to be unique."""
        self._add("Duplicate", field, f"Duplicate value: {show(value)}")

    def unique(self, field: str, values: Iterable[object]) -> None:
        """Report each value that came before; `field` has `[]` where the value's place goes."""
        seen: list[object] = []
        for index, value in enumerate(values):
            if value is not None and value in seen:
                self.duplicate(field.replace("[]", f"[{index}]"), value)
            seen.append(value)

    def not_found(self, field: str, value: object) -> None:
        """Report a reference to something that is not there."""
        self._add("NotFound", field, f"Not found: {show(value)}")

    def too_long(self, field: str, limit: int) -> None:
        """Report a text of more than `limit` bytes."""
        self._add("TooLong", field, f"Too long: may not be more than {limit} bytes")

    def problems(self, field: str, value: object, found: Iterable[str]) -> None:
        """Report each broken rule of one value."""
        for problem in found:
            self.invalid(field, value, problem)

    def one_of(self, obj: Object, field: str, prefix: str, allowed: Sequence[str]) -> None:
        """Check a field that has one of a few values, where it is set."""
        if obj.get(field) is not None and obj[field] not in allowed:
            self.unsupported(join(prefix, field), obj[field], allowed)

    def between(self, field: str, value: int, low: int, high: int) -> None:
        """Check a number's bounds, both included."""
        if not low <= value <= high:
            self.invalid(field, value, f"must be between {low} and {high}, inclusive")

    def labels(self, field: str, labels: Mapping[str, str] | None) -> None:
        """Check label keys and values."""
        for key, value in (labels or {}).items():
            self.problems(field, key, names.label_key_problems(key))
            self.problems(field, value, names.label_value_problems(value))

    def selector(self, field: str, selector: Object | None) -> None:
        """Check a LabelSelector."""
        self.labels(f"{field}.matchLabels", (selector or {}).get("matchLabels"))
        for index, item in enumerate((selector or {}).get("matchExpressions") or []):
            self.requirement(f"{field}.matchExpressions[{index}]", item)

    def requirement(self, path: str, item: Object) -> None:
        """Check one expression of a selector."""
        operator, key = item.get("operator", ""), item.get("key", "")
        if operator in ("In", "NotIn") and not item.get("values"):
            why = "must be specified when `operator` is 'In' or 'NotIn'"
            self.required(f"{path}.values", why)
        elif operator in ("Exists", "DoesNotExist") and item.get("values"):
            why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            self.forbidden(f"{path}.values", why)
        elif operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
            self.invalid(f"{path}.operator", operator, "not a valid selector operator")
        self.problems(f"{path}.key", key, names.label_key_problems(key))

    def immutable(self, obj: Object, old: Object, prefix: str, *fields: str) -> None:
        """Check fields that never change."""
        for field in fields:
            if obj.get(field) != old.get(field):
                self.invalid(join(prefix, field), obj.get(field), "field is immutable")


def join(prefix: str, field: str) -> str:
    """Return a field's path below another's."""
    return f"{prefix}.{field}" if prefix else field
