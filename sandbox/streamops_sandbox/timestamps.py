"""Times as the Kubernetes API writes them."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """Return the current time: RFC 3339, whole seconds, UTC."""
    return rfc3339(datetime.now(UTC))


def rfc3339(time: datetime) -> str:
    """Write a time: RFC 3339, whole seconds, UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def parse(text: str) -> datetime:
    """Read a time the API wrote."""
    return datetime.fromisoformat(text)
