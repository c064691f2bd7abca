"""ISO 8601 durations, as `delivery` writes them."""

from __future__ import annotations

import re

_PATTERN = re.compile(
    r"P(?=.)(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=.)(?:(?P<hours>\d+(?:[.,]\d+)?)H)?(?:(?P<minutes>\d+(?:[.,]\d+)?)M)?"
    r"(?:(?P<seconds>\d+(?:[.,]\d+)?)S)?)?"
)
_UNITS = {"weeks": 604800, "days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}


def seconds(text: str) -> float:
    """Return the seconds of a duration like `PT0.2S`.

    Raises:
        ValueError: the text is none; years and months, which have no fixed length, count as none.
    """
    found = _PATTERN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not an ISO 8601 duration")
    parts = found.groupdict(default="0")
    return sum(float(parts[unit].replace(",", ".")) * size for unit, size in _UNITS.items())
