"""Schedules as PingSource writes them (github.com/robfig/cron): cron's, and `@every`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from streamops_sandbox import cron

_EVERY = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class Schedule:
    """A parsed schedule; ValueError says what is wrong with one that is not."""

    def __init__(self, text: str, timezone: str = "UTC") -> None:
        try:
            self._zone = ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"unknown time zone {timezone}") from None
        text = text.strip().lower()
        self._every: float | None = None
        if text.startswith("@every "):
            self._every = _seconds(text.removeprefix("@every ").strip())
        else:
            self._cron = cron.Schedule.parse(text)

    def after(self, moment: datetime) -> datetime:
        """Return the first time after `moment` (aware); ValueError where there is none for years."""
        if self._every is not None:
            return moment + timedelta(seconds=self._every)
        found = self._cron.next_after(moment.astimezone(self._zone))
        if found is None:
            raise ValueError("the schedule never fires")
        return found.astimezone(UTC)


def _seconds(text: str) -> float:
    found = _EVERY.findall(text)
    if "".join(number + unit for number, unit in found) != text or not found:
        raise ValueError(f"@every: failed to parse duration {text}")
    return max(1.0, sum(float(number) * _UNITS[unit] for number, unit in found))
