"""What HTTP answers say besides their body."""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime

LONGEST_REASON = 500
_LONGEST_DATE = 64


def printable(text: str) -> str:
    """Return the beginning of a text on one line, without control characters."""
    words = " ".join(text[: 2 * LONGEST_REASON].split())
    return "".join(c if c.isprintable() else "\ufffd" for c in words)[:LONGEST_REASON]


def number(text: str | None) -> int | None:
    """Return the integer in a header; None if there is none."""
    return int(text) if text and re.fullmatch(r"[0-9]{1,12}", text) else None


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After asks for; None if there is none, or a malformed one."""
    if not value:
        return None
    seconds = number(value)
    if seconds is not None:
        return float(seconds)
    try:
        return max(0.0, parsedate_to_datetime(value[:_LONGEST_DATE]).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None
