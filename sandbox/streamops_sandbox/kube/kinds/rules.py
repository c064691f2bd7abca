"""Rules that many kinds share, stated for paths like `spec.template.spec.containers[].name`.

Each returns the violations as causes; a field that is not there violates none of them. The wording is that
of k8s.io/apimachinery/pkg/util/validation/field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from streamops_sandbox.kube import errors

Json = dict[str, Any]


def values(obj: Any, path: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """What stands at a path, each with its field's name: `spec.containers[0].name`."""
    head, _, rest = path.partition(".")
    key = head.removesuffix("[]")
    value = obj.get(key) if isinstance(obj, dict) else None
    field = f"{prefix}.{key}" if prefix else key
    if value is None:
        return
    found = (
        [(f"{field}[{index}]", item) for index, item in enumerate(value)]
        if head.endswith("[]")
        else [(field, value)]
    )
    for name, item in found:
        if rest:
            yield from values(item, rest, name)
        else:
            yield name, item


def one_of(obj: Json, choices: Mapping[str, tuple[str, ...]], prefix: str = "") -> list[Json]:
    """Fields that have one of a few values, by path; `prefix` is where `obj` itself stands."""
    return [
        unsupported(field, value, allowed)
        for path, allowed in choices.items()
        for field, value in values(obj, path, prefix)
        if value not in allowed
    ]


def not_negative(obj: Json, *paths: str, prefix: str = "") -> list[Json]:
    """Numbers from 0 on."""
    return [
        invalid(field, str(value), "must be greater than or equal to 0")
        for path in paths
        for field, value in values(obj, path, prefix)
        if isinstance(value, int) and value < 0
    ]


def unsupported(field: str, value: object, allowed: tuple[str, ...]) -> Json:
    """The cause of a value that is none of those allowed."""
    listed = ", ".join(f'"{item}"' for item in allowed)
    return errors.cause(
        "FieldValueNotSupported", field, f'Unsupported value: "{value}": supported values: {listed}'
    )


def invalid(field: str, shown: str, problem: str) -> Json:
    """The cause of a value with something wrong about it."""
    return errors.cause("FieldValueInvalid", field, f"Invalid value: {shown}: {problem}")


def required(field: str, why: str = "") -> Json:
    """The cause of a field that is not there."""
    return errors.cause("FieldValueRequired", field, "Required value" + (f": {why}" if why else ""))
