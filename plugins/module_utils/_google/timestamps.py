"""Times as Google's APIs write them: RFC 3339, with or without a fraction, in any offset."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from .errors import ConfigError

_FORM = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def moment(value: str) -> datetime:
    """Return the time, to the microsecond."""
    return datetime.fromisoformat(value.upper())


def is_time(value: object) -> bool:
    """Return whether this is a time in full."""
    if not isinstance(value, str) or not _FORM.fullmatch(value):
        return False
    try:
        moment(value)
    except ValueError:  # the 31st of February
        return False
    return True


def check_times(values: Mapping[str, str | None]) -> list[str]:
    """Return a line for each option whose value is there and no time."""
    return [
        f"{option}: '{value}' is not a valid RFC 3339 time, for example 2030-01-31T06:00:00Z"
        for option, value in values.items()
        if value is not None and not is_time(value)
    ]


def require_times(values: Mapping[str, str | None]) -> None:
    """Raise ConfigError where one of them is malformed."""
    problems = check_times(values)
    if problems:
        raise ConfigError("; ".join(problems))
