"""Amounts of resources: `100m`, `1Gi`, `2e3` (k8s.io/apimachinery/pkg/api/resource)."""

from __future__ import annotations

import re
from decimal import ROUND_UP, Decimal
from functools import lru_cache

_FORM = re.compile(r"([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)\Z")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)\Z")
_DECIMAL = {
    "n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18,
}  # fmt: skip
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_EXPONENT = re.compile(r"[eE][+-]?\d+\Z")
_NANO = Decimal("1e-9")

FORM_RULE = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)


def parse(text: str) -> Decimal:
    """Return the amount; raises ValueError with the API server's words."""
    found = _FORM.match(text)
    if not found or not _NUMBER.match(found[1]):
        raise ValueError(FORM_RULE)
    number, suffix = Decimal(found[1]), found[2]
    if suffix in _BINARY:
        return number * Decimal(1024) ** _BINARY[suffix]
    if suffix in _DECIMAL:
        return number * Decimal(10) ** _DECIMAL[suffix]
    if _EXPONENT.match(suffix):
        return number * Decimal(10) ** int(suffix[1:])
    raise ValueError("unable to parse quantity's suffix")


@lru_cache(maxsize=1024)
def canonical(text: str) -> str:
    """Return the form in which the API server keeps an amount; raises ValueError."""
    value = parse(text)
    if value == 0:
        return "0"
    suffix = text.lstrip("+-.0123456789")
    if suffix in _BINARY and abs(value) >= 1024:
        return _binary(value)
    return _decimal(value, exponent=bool(_EXPONENT.match(suffix)))


def _binary(value: Decimal) -> str:
    number = int(value.to_integral_value(ROUND_UP))
    power = 0
    while number % 1024 == 0 and power < 6:
        number //= 1024
        power += 1
    return f"{number}{['', *_BINARY][power]}"


def _decimal(value: Decimal, *, exponent: bool) -> str:
    scaled = int((value / _NANO).to_integral_value(ROUND_UP))
    power = -9
    while scaled % 1000 == 0 and power < 18:
        scaled //= 1000
        power += 3
    if exponent:
        return f"{scaled}e{power}" if power else str(scaled)
    return str(scaled) + next(name for name, place in _DECIMAL.items() if place == power)
