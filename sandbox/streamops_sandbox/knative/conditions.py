"""Status conditions as Knative's API contract defines them (knative/specs, "error signalling").

Ready, the *happy* condition, sums up its dependents: False as soon as one of them is False, Unknown
while one is, True once all are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamops_sandbox.timestamps import now

Condition = dict[str, Any]
_HAPPY = "Ready"


def find(obj: dict[str, Any] | None, kind: str = "Ready") -> Condition | None:
    """Return the condition of this type from an object's status, or None."""
    conditions = ((obj or {}).get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c.get("type") == kind), None)


def is_true(obj: dict[str, Any] | None, kind: str = "Ready") -> bool:
    """Tell whether the object carries this condition with status True."""
    condition = find(obj, kind)
    return condition is not None and condition.get("status") == "True"


class Conditions:
    """Edit `status["conditions"]` in place; times move only when something else does."""

    def __init__(self, status: dict[str, Any], dependents: Sequence[str]) -> None:
        self._status = status
        self._dependents = tuple(dependents)

    def get(self, kind: str) -> Condition | None:
        """Return the condition of this type, or None."""
        return find({"status": self._status}, kind)

    def initialize(self) -> None:
        """Add what is missing as Unknown (True on a resource that is happy already)."""
        if self.get(_HAPPY) is None:
            self._set(_HAPPY, "Unknown")
        happy = self.get(_HAPPY)
        status = "True" if happy is not None and happy["status"] == "True" else "Unknown"
        for kind in self._dependents:
            if self.get(kind) is None:
                self._set(kind, status)

    def true(self, kind: str, reason: str = "", message: str = "") -> None:
        """Mark a condition True and the happy one too, once nothing speaks against it."""
        self._set(kind, "True", reason, message)
        self._sum_up()

    def false(self, kind: str, reason: str, message: str = "") -> None:
        """Mark a condition and the happy one False."""
        self._set(kind, "False", reason, message)
        self._set(_HAPPY, "False", reason, message)

    def unknown(self, kind: str, reason: str = "", message: str = "") -> None:
        """Mark a condition Unknown and the happy one too, unless another one is False."""
        self._set(kind, "Unknown", reason, message)
        self._sum_up()

    def mirror(self, kind: str, source: Condition | None, *, absent: tuple[str, str]) -> None:
        """Give `kind` the status of another object's condition; `absent` is (reason, message)."""
        if source is None:
            self.unknown(kind, *absent)
        elif source["status"] == "True":
            self.true(kind)
        elif source["status"] == "False":
            self.false(kind, source.get("reason", ""), source.get("message", ""))
        else:
            self.unknown(kind, source.get("reason", ""), source.get("message", ""))

    def _sum_up(self) -> None:
        found = [self.get(kind) for kind in self._dependents]
        for wanted in ("False", "Unknown"):
            for condition in found:
                if condition is not None and condition["status"] == wanted:
                    reason, message = condition.get("reason", ""), condition.get("message", "")
                    self._set(_HAPPY, wanted, reason, message)
                    return
        if all(condition is not None for condition in found):
            self._set(_HAPPY, "True")

    def _set(self, kind: str, status: str, reason: str = "", message: str = "") -> None:
        fields = {"type": kind, "status": status, "reason": reason, "message": message}
        new: Condition = {name: value for name, value in fields.items() if value}
        old = self.get(kind)
        if old is not None and {k: v for k, v in old.items() if k != "lastTransitionTime"} == new:
            return
        new["lastTransitionTime"] = now()
        rest = [c for c in self._status.get("conditions") or [] if c.get("type") != kind]
        self._status["conditions"] = sorted([*rest, new], key=lambda c: str(c["type"]))
