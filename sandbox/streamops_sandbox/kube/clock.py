"""Points in time as Kubernetes writes them."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """RFC 3339 in UTC, whole seconds: `2026-01-02T03:04:05Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def after(seconds: float) -> str:
    """The time so many seconds from now."""
    moment = datetime.fromtimestamp(datetime.now(UTC).timestamp() + seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(text: str) -> datetime:
    """Read an RFC 3339 time; raises ValueError."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def age(text: str | None) -> str:
    """How long ago, as kubectl prints it (k8s.io/apimachinery/pkg/util/duration)."""
    if not text:
        return "<unknown>"
    try:
        seconds = int((datetime.now(UTC) - parse(text)).total_seconds())
    except ValueError:
        return "<invalid>"
    return human_duration(seconds)


def human_duration(seconds: int) -> str:  # the thresholds are upstream's
    """`5s`, `2m3s`, `3h4m`, `2d5h`, `400d`, `2y1d`."""
    if seconds < -1:
        return "<invalid>"
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 10:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours, rest = divmod(minutes, 60)
    if hours < 8:
        return f"{hours}h{rest}m" if rest else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days, rest = divmod(hours, 24)
    if hours < 192:
        return f"{days}d{rest}h" if rest else f"{days}d"
    if days < 730:
        return f"{days}d"
    years, rest = divmod(days, 365)
    if years < 8:
        return f"{years}y{rest}d" if rest else f"{years}y"
    return f"{years}y"
