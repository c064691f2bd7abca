"""Validation errors in the words of knative.dev/pkg's apis.FieldError."""

from __future__ import annotations

from typing import Any


class Denied(Exception):
    """An object that is refused; the message is what the user reads."""


class FieldErrors:
    """Collects all that is wrong with an object; the same complaint lists its fields together."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[str]] = {}

    def refuse(self) -> None:
        """Raise Denied with everything that was found, if anything was."""
        lines = []
        for (message, details), paths in sorted(self._found.items()):
            text = f"{message}: {', '.join(sorted(paths))}" if paths else message
            lines.append(f"{text}\n{details}" if details else text)
        if lines:
            raise Denied("validation failed: " + "\n".join(lines))

    def add(self, message: str, *paths: str, details: str = "") -> None:
        """Add a complaint about one or more fields."""
        known = self._found.setdefault((message, details), [])
        known.extend(path for path in paths if path not in known)

    def missing(self, *paths: str) -> None:
        """Complain about fields that are needed."""
        self.add("missing field(s)", *paths)

    def disallowed(self, *paths: str) -> None:
        """Complain about fields that must not be set here."""
        self.add("must not set the field(s)", *paths)

    def invalid(self, value: object, path: str, details: str = "") -> None:
        """Complain about a value."""
        self.add(f"invalid value: {value}", path, details=details)

    def exactly_one(self, obj: dict[str, Any], path: str, *names: str) -> None:
        """Complain unless exactly one of the fields is set."""
        given = [name for name in names if obj.get(name) not in (None, "")]
        paths = [f"{path}.{name}" if path else name for name in names]
        if not given:
            self.add("expected exactly one, got neither", *paths)
        elif len(given) > 1:
            self.add(
                "expected exactly one, got both",
                *(p for p, n in zip(paths, names, strict=True) if n in given),
            )


def json_type(value: object) -> str:
    """Return what Go's encoding/json calls the type of a decoded value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, dict):
        return "object"
    return "array" if isinstance(value, list) else "number"
