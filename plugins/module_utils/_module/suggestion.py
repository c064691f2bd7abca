"""Suggestions for unknown names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


def meant(name: Any, known: Iterable[Any]) -> str:
    """Return the end of a message about an unknown name: the closest known one, or all of them."""
    names = [str(one) for one in known]
    same = [one for one in names if one.lower() == str(name).lower()]
    close = same or difflib.get_close_matches(str(name), names, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
