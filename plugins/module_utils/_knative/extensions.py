"""CloudEvents extension attributes of a SinkBinding or ContainerSource.

Knative takes strings only. YAML makes booleans and numbers of what people write; CloudEvents defines how
those two are written as strings (https://github.com/cloudevents/spec, "Type System").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def as_strings(extensions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes with booleans and integers in their canonical string form."""
    return {str(name): _as_string(value) for name, value in extensions.items()}


def _as_string(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value


def problems(extensions: Mapping[str, Any]) -> list[str]:
    """Return why attributes are refused, a sentence "NAME: …" each."""
    return [
        f"{name}: {value!r} is not a valid value of a CloudEvents attribute: write a string, an"
        " integer, true or false"
        for name, value in as_strings(extensions).items()
        if not isinstance(value, str)
    ]
