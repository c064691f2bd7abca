"""Cron expressions: five fields or a macro, as CronJobs take them.

Contract: https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cronsim import CronSim, CronSimError

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_ANY = datetime(2000, 1, 1)


@dataclass(frozen=True)
class Schedule:
    """When something is due; `next_after` takes and gives local times of the schedule's zone."""

    expression: str
    never: bool = False

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read an expression; raises ValueError."""
        fields = _MACROS.get(text.strip(), text).replace("?", "*").split()
        if len(fields) != 5:
            raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{text}]")
        for number, field in enumerate(fields):
            alone = ["*"] * 5
            alone[number] = field
            if not _is_valid(" ".join(alone)):
                raise ValueError(f"failed to parse {field!r}: {text!r}")
        expression = " ".join(fields)
        # Days that no month has, as 31 February, are allowed and never come.
        return cls(expression, never=not _is_valid(expression))

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after `moment`, or None where there is none for years."""
        return None if self.never else next(CronSim(self.expression, moment), None)


def _is_valid(expression: str) -> bool:
    try:
        CronSim(expression, _ANY)
    except CronSimError:
        return False
    return True
