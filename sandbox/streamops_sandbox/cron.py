"""Cron expressions: five fields, as CronJobs and PingSources take them.

Contract: https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = {
    name: number
    for number, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
        start=1,
    )
}
_DAYS = {
    name: number for number, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])
}
_SEARCH_DAYS = 366 * 5  # 29 February comes at least every eight years, mostly every four


@dataclass(frozen=True)
class Schedule:
    """When something is due; `next_after` takes and gives local times of the schedule's zone."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool  # both day fields are restricted: one of them is enough

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read an expression; raises ValueError."""
        fields = _MACROS.get(text.strip(), text).lower().split()
        if len(fields) != 5:
            raise ValueError(f"expected exactly 5 fields, found {len(fields)}: {text!r}")
        weekdays = _field(fields[4], 0, 7, _DAYS)
        return cls(
            _field(fields[0], 0, 59, {}),
            _field(fields[1], 0, 23, {}),
            _field(fields[2], 1, 31, {}),
            _field(fields[3], 1, 12, _MONTHS),
            frozenset(day % 7 for day in weekdays),
            not fields[2].startswith(("*", "?")) and not fields[4].startswith(("*", "?")),
        )

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after `moment`, or None where there is none for years."""
        time = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
        for _ in range(_SEARCH_DAYS):
            if self._day_fits(time):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        candidate = time.replace(hour=hour, minute=minute)
                        if candidate >= time:
                            return candidate
            time = (time + timedelta(days=1)).replace(hour=0, minute=0)
        return None

    def _day_fits(self, time: datetime) -> bool:
        if time.month not in self.months:
            return False
        day, weekday = time.day in self.days, time.isoweekday() % 7 in self.weekdays
        return day or weekday if self.either_day else day and weekday


def _field(text: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    values: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = _value(step_text, {}) if slash else 1
        first, dash, last = span.partition("-")
        if first in ("*", "?"):
            begin, end = low, high
        else:
            begin = _value(first, names)
            end = _value(last, names) if dash else begin
            if slash and not dash:
                end = high
        if not (low <= begin <= end <= high) or step < 1:
            raise ValueError(f"{part!r} is not within {low} to {high}")
        values.update(range(begin, end + 1, step))
    return frozenset(values)


def _value(text: str, names: dict[str, int]) -> int:
    if text in names:
        return names[text]
    if not text.isdigit():
        raise ValueError(f"failed to parse {text!r}")
    return int(text)
