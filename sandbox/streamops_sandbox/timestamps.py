"""Times as the Kubernetes API writes them, and as kubectl shows how long ago they were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def now() -> str:
    """Return the current time: RFC 3339, whole seconds, UTC."""
    return rfc3339(datetime.now(UTC))


def after(seconds: float) -> str:
    """Return the time so many seconds from now."""
    return rfc3339(datetime.now(UTC) + timedelta(seconds=seconds))


def rfc3339(time: datetime) -> str:
    """Write a time: RFC 3339, whole seconds, UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def parse(text: str) -> datetime:
    """Read an RFC 3339 time; raises ValueError."""
    return datetime.fromisoformat(text)


def age(text: str | None) -> str:
    """Return how long ago a time was, as kubectl prints it."""
    if not text:
        return "<unknown>"
    try:
        return human_duration(int((datetime.now(UTC) - parse(text)).total_seconds()))
    except ValueError:
        return "<invalid>"


#: (minutes from which on, seconds of the large unit, its letter, seconds and letter of what is left)
_UNITS = (
    (8 * 365 * 1440, 365 * 86400, "y", 0, ""),
    (2 * 365 * 1440, 365 * 86400, "y", 86400, "d"),
    (8 * 1440, 86400, "d", 0, ""),
    (2 * 1440, 86400, "d", 3600, "h"),
    (8 * 60, 3600, "h", 0, ""),
    (180, 3600, "h", 60, "m"),
    (10, 60, "m", 0, ""),
    (2, 60, "m", 1, "s"),
)


def human_duration(seconds: int) -> str:
    """Return `5s`, `2m3s`, `3h4m`, `2d5h`, `400d`, `2y1d` (k8s.io/apimachinery/pkg/util/duration)."""
    if seconds < -1:
        return "<invalid>"
    for minutes, size, letter, small, small_letter in _UNITS:
        if seconds >= minutes * 60:
            count, rest = divmod(seconds, size)
            more = rest // small if small else 0
            return f"{count}{letter}" + (f"{more}{small_letter}" if more else "")
    return f"{max(seconds, 0)}s"
