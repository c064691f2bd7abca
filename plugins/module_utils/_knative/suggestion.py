"""What somebody may have meant by an unknown name."""

from __future__ import annotations

import difflib
from collections.abc import Collection


def meant(name: str, known: Collection[str]) -> str:
    """Return the end of a message about an unknown name: the closest known one, or all of them."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
