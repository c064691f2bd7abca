"""Cron schedules as PingSource writes them (github.com/robfig/cron, five fields and descriptors)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
#: Field name, lowest and highest value, names of values.
_FIELDS: list[tuple[str, int, int, dict[str, int]]] = [
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of week", 0, 6, {name: number for number, name in enumerate(_DAYS)}),
]
_EVERY = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_HORIZON = timedelta(days=366 * 5)


class Schedule:
    """A parsed schedule; ValueError says what is wrong with one that is not."""

    def __init__(self, text: str, timezone: str = "UTC") -> None:
        try:
            self._zone = ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"unknown time zone {timezone}") from None
        self._every: float | None = None
        text = text.strip().lower()
        if text.startswith("@every "):
            self._every = _seconds(text.removeprefix("@every ").strip())
            return
        fields = _DESCRIPTORS.get(text, text).split()
        if len(fields) != len(_FIELDS):
            raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{text}]")
        parsed = [_field(field, *limits) for field, limits in zip(fields, _FIELDS, strict=True)]
        self._minutes, self._hours, self._days, self._months, self._weekdays = parsed
        # With both day fields restricted, either may match (crontab(5)).
        self._any_day = fields[2].startswith("*") or fields[4].startswith("*")

    def after(self, moment: datetime) -> datetime:
        """Return the first time after `moment` (aware); ValueError where there is none in 5 years."""
        if self._every is not None:
            return moment + timedelta(seconds=self._every)
        local = moment.astimezone(self._zone).replace(second=0, microsecond=0)
        candidate = local + timedelta(minutes=1)
        while candidate - local < _HORIZON:
            if candidate.month not in self._months or not self._day_matches(candidate):
                candidate = candidate.replace(hour=0, minute=0) + timedelta(days=1)
            elif candidate.hour not in self._hours:
                candidate = candidate.replace(minute=0) + timedelta(hours=1)
            elif candidate.minute not in self._minutes:
                candidate += timedelta(minutes=1)
            else:
                return candidate.astimezone(UTC)
        raise ValueError("the schedule never fires")

    def _day_matches(self, moment: datetime) -> bool:
        day = moment.day in self._days
        weekday = moment.isoweekday() % 7 in self._weekdays
        return (day and weekday) if self._any_day else (day or weekday)


def _field(text: str, name: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    values: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        if step and (not step.isdigit() or int(step) == 0):
            raise ValueError(f"{name}: step {step!r} is not a positive number")
        if span in ("*", "?"):
            first, last = low, high
        else:
            start, dash, end = span.partition("-")
            first = _value(start, name, names)
            last = _value(end, name, names) if dash else (high if step else first)
        if not low <= first <= last <= high:
            raise ValueError(f"{name}: {part} is not within {low}-{high}")
        values.update(range(first, last + 1, int(step or 1)))
    return values


def _value(text: str, name: str, names: dict[str, int]) -> int:
    if text in names:
        return names[text]
    if not text.isdigit():
        raise ValueError(f"{name}: failed to parse {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    found = _EVERY.findall(text)
    if "".join(number + unit for number, unit in found) != text or not found:
        raise ValueError(f"@every: failed to parse duration {text}")
    return max(1.0, sum(float(number) * _UNITS[unit] for number, unit in found))
