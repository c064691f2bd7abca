"""Options whose values have to be text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import TaskError


def require_texts(option: str, values: Mapping[Any, Any], error: type[TaskError]) -> dict[str, str]:
    """Return the values of a dict option; raise `error` naming each key or value that is not text.

    YAML reads `1.10`, `yes` and `2030-01-01` as something else than it was written.
    """
    wrong = [
        f"{key}: {value!r}"
        for key, value in values.items()
        if not isinstance(key, str) or not isinstance(value, str)
    ]
    if wrong:
        raise error(f"{option}: {', '.join(wrong)}: not text; put the value in quotes")
    return dict(values)
