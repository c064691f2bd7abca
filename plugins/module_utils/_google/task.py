"""The task of a Google module: plan, carry out unless in check mode, report."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from .._module.task import Run, Task
from .._yaml import dump
from .argspec import GOOGLE, session
from .plan import Plan, carry_out
from .session import Session

Json = dict[str, Any]


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
        plan, changes = carry_out(caller, plan, make)
    for warning in [*plan.warnings, *caller.warnings]:
        run.warn(warning)
    result: Json = {"changed": bool(changes), "changes": changes, **plan.result}
    if run.diff:
        result["diff"] = {"before": _text(before), "after": _text(plan.after)}
    return result


def _text(value: Json) -> str:
    return dump(value) if value else ""
