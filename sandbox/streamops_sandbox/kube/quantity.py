"""Amounts of resources: `100m`, `1Gi`, `2e3` (k8s.io/apimachinery/pkg/api/resource)."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

_FORM = re.compile(
    r"(?P<number>[+-]?(\d+(\.\d*)?|\.\d+))(?P<suffix>[eE][+-]?\d+|[KMGTPE]i|[numkMGTPE]|)\Z"
)
_DECIMAL = {
    "n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18,
}  # fmt: skip
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}


def is_quantity(text: object) -> bool:
    """Whether a string is an amount."""
    return isinstance(text, str) and _FORM.match(text) is not None


def parse(text: str) -> Decimal:
    """The amount; raises ValueError."""
    found = _FORM.match(text)
    if not found:
        raise ValueError(f"{text!r} is no quantity")
    try:
        number = Decimal(found["number"])
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is no quantity") from error
    suffix = found["suffix"]
    if suffix in _BINARY:
        return number * Decimal(1024) ** _BINARY[suffix]
    if suffix in _DECIMAL:
        return number * Decimal(10) ** _DECIMAL[suffix]
    return number * Decimal(10) ** int(suffix[1:])
