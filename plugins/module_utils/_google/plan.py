"""Plans: the steps between what there is and what is wanted, carried out in order.

Nothing is written before the plan is complete, so everything that can be refused is refused before
anything is touched. After a conflict (an etag is stale, an object exists already), and after a write
whose answer was lost, the state is read again and the plan made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from .._module.text import require_texts
from .errors import (
    ApiError,
    ConfigError,
    Conflict,
    GcpError,
    UnexpectedAnswer,
    Unreachable,
)
from .session import AMBIGUOUS, Session

Json = dict[str, Any]


@dataclass
class Plan:
    """The changes of one task.

    `before` and `after` are compared in diffs (no secrets); `steps` are carried out in order, each with
    a description of its change; `result` is returned with the changes, and steps may add to it.
    """

    before: Json = field(default_factory=dict)
    after: Json = field(default_factory=dict)
    steps: list[tuple[list[str], Callable[[], object]]] = field(default_factory=list)
    result: Json = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, words: str | list[str], step: Callable[[], object]) -> None:
        """Add a step; more than one description where one request makes several changes."""
        self.steps.append(([words] if isinstance(words, str) else words, step))

    @property
    def changes(self) -> list[str]:
        """Descriptions of the steps."""
        return [text for words, _step in self.steps for text in words]


def carry_out(session: Session, plan: Plan, make: Callable[[], Plan]) -> tuple[Plan, list[str]]:
    """Take the steps; the last plan, and the changes that were made in all.

    A GcpError has in its `result` what was changed before it. A step counts from its first write on
    that Google accepted; one whose outcome is not known counts as changed, and the message says so.
    """
    done: list[str] = []
    in_doubt: list[str] = []
    is_stale = False

    def note(words: Iterable[str]) -> None:
        done.extend(text for text in words if text not in done)

    def attempt() -> Plan:
        nonlocal plan, in_doubt, is_stale
        if is_stale:
            plan = make()
            note(text for text in in_doubt if text not in plan.changes)
            in_doubt = []
        is_stale = True
        for words, step in plan.steps:
            accepted, doubtful = session.writes_accepted, session.writes_in_doubt
            try:
                step()
            except GcpError:
                if session.writes_accepted > accepted:
                    note(words)
                elif session.writes_in_doubt > doubtful:
                    in_doubt = words
                raise
            note(words)
        return plan

    try:
        return session.retry(attempt, lambda e: isinstance(e, Conflict) or is_ambiguous(e)), done
    except GcpError as error:
        if in_doubt:
            doubt = "; ".join(in_doubt)
            error.args = (f"{error} Whether this was done is not known: {doubt}. Run this again.",)
            note(in_doubt)
        error.result = {"changed": bool(done), "changes": done}
        raise


def is_ambiguous(error: GcpError) -> bool:
    """Return whether the request may have been carried out although it failed."""
    if isinstance(error, Unreachable | UnexpectedAnswer):
        return error.sent
    return isinstance(error, ApiError) and error.code in AMBIGUOUS


def merged_labels(current: Json, wanted: Json, *, purge: bool) -> dict[str, str]:
    """Return the labels that result: those that are there stay unless they are purged."""
    return {**({} if purge else current), **require_texts("labels", wanted, ConfigError)}
