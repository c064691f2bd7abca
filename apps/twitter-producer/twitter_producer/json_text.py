"""JSON from and to the outside."""

from __future__ import annotations

import json
from typing import Any


def decode(text: str | bytes) -> Any:
    """Return the value of a JSON text; ValueError for anything else, however deep or long."""
    try:
        try:
            return json.loads(text)
        except ValueError:  # it may only have a number too long for an int
            return json.loads(text, parse_int=float)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error


def encode(value: Any) -> bytes:
    """Return UTF-8 that any reader of JSON takes; ValueError or TypeError if there is none.

    Half a surrogate pair has no UTF-8, NaN and infinity have no JSON.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def encode_any(value: Any, depth: int = 3) -> bytes:
    """Return JSON in UTF-8 whatever the value: half a surrogate pair as an escape (`\\ud83d`).

    What JSON cannot express becomes a string that shows it; the members around it, so many levels
    deep, stay as they are.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        if isinstance(value, dict) and depth:
            members = (
                json.dumps(str(name)).encode() + b": " + encode_any(member, depth - 1)
                for name, member in value.items()
            )
            return b"{" + b", ".join(members) + b"}"
        try:
            text = json.dumps(ascii(value))
        except RecursionError:
            text = '"(nested too deeply to be shown)"'
    return text.encode("utf-8", "backslashreplace")
