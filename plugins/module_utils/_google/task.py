"""What a Google module does, apart from where it runs: plan, carry out unless in check mode, report.

Nothing is written before the plan is complete, so everything that can be refused is refused before
anything is touched. Where somebody else was faster (an etag is no longer the current one, a thing that
was to be made is there) the plan is made anew. With a local connection the work is done in Ansible's
worker, without a process.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.streamops.knative.plugins.module_utils._google.argspec import (
    GOOGLE,
    session,
)
from ansible_collections.streamops.knative.plugins.module_utils._google.errors import GcpError
from ansible_collections.streamops.knative.plugins.module_utils._google.session import Session
from ansible_collections.streamops.knative.plugins.module_utils._module.task import Run, Task
from ansible_collections.streamops.knative.plugins.module_utils._yaml import dump

Json = dict[str, Any]


@dataclass
class Plan:
    """What a module is going to do.

    `before` and `after` are what people compare (no secrets); `steps` are carried out in order, each
    with the words that say what it changes; `result` is returned besides, and steps may add to it.
    """

    before: Json = field(default_factory=dict)
    after: Json = field(default_factory=dict)
    steps: list[tuple[str, Callable[[], object]]] = field(default_factory=list)
    result: Json = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, words: str, step: Callable[[], object]) -> None:
        """Add a step."""
        self.steps.append((words, step))

    @property
    def changes(self) -> list[str]:
        """What the steps change, in words."""
        return [words for words, _step in self.steps]


def GcpTask(
    options: Mapping[str, Mapping[str, Any]],
    plan: Callable[[Session, Json], Plan] | None = None,
    query: Callable[[Session, Json], Json] | None = None,
    constraints: Mapping[str, Any] | None = None,
) -> Task:
    """Return the task of a Google module: `plan` for one that changes something, else `query`."""
    if plan:
        return Task(functools.partial(_run_plan, plan), {**GOOGLE, **options}, constraints or {})
    if query:
        return Task(functools.partial(_run_query, query), {**GOOGLE, **options}, constraints or {})
    raise TypeError("a task has a plan or a query")


def _run_query(query: Callable[[Session, Json], Json], run: Run) -> Json:
    caller = session(run.params, check_mode=run.check_mode, progress=run.progress)
    return {"changed": False, **query(caller, run.params)}


def _run_plan(plan_for: Callable[[Session, Json], Plan], run: Run) -> Json:
    """Plan, and carry the plan out unless in check mode."""
    caller = session(run.params, check_mode=run.check_mode, progress=run.progress)
    make = functools.partial(plan_for, caller, run.params)
    plan = make()
    before, changes = plan.before, plan.changes
    if not run.check_mode:
        plan, changes = _carry_out(caller, plan, make)
    for warning in [*plan.warnings, *caller.warnings]:
        run.warn(warning)
    result: Json = {"changed": bool(changes), "changes": changes, **plan.result}
    if run.diff:
        result["diff"] = {"before": _text(before), "after": _text(plan.after)}
    return result


def merged_labels(current: Json, wanted: Json, *, purge: bool) -> dict[str, str]:
    """The labels that result: those that are there stay unless they are purged."""
    return {**({} if purge else current), **{key: str(value) for key, value in wanted.items()}}


def _carry_out(caller: Session, plan: Plan, make: Callable[[], Plan]) -> tuple[Plan, list[str]]:
    """Take the steps, by a new plan after each conflict; the last plan, and what was done in all."""
    done: list[str] = []
    is_stale = False

    def attempt() -> Plan:
        nonlocal plan, is_stale
        if is_stale:
            plan = make()
        is_stale = True
        for words, step in plan.steps:
            step()
            done.append(words)
        return plan

    try:
        return caller.retry_conflicts(attempt), done
    except GcpError as error:
        error.result = {"changed": bool(done), "changes": done}
        raise


def _text(value: Json) -> str:
    return dump(value) if value else ""
