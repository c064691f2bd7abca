"""The task of a Google module: plan, carry out unless in check mode, report."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .._module.options import Spec
from .._module.task import Run, Task
from .._yaml import dump
from .argspec import GOOGLE, session
from .plan import Plan, carry_out
from .session import Session

Json = dict[str, Any]


def plan_task(
    plan: Callable[[Session, Json], Plan],
    documentation: str,
    more: Spec | None = None,
    **constraints: Any,
) -> Task:
    """Return the task of a module that changes something; arguments as of Task."""
    work = functools.partial(_run_plan, plan)
    return Task(work, documentation, GOOGLE, more or {}, constraints)


def query_task(
    query: Callable[[Session, Json], Json],
    documentation: str,
    more: Spec | None = None,
    **constraints: Any,
) -> Task:
    """Return the task of a module that only reads; arguments as of Task."""
    work = functools.partial(_run_query, query)
    return Task(work, documentation, GOOGLE, more or {}, constraints)


def _run_query(query: Callable[[Session, Json], Json], run: Run) -> Json:
    caller = session(run.params, check_mode=run.check_mode, progress=run.progress)
    return {"changed": False, **query(caller, run.params)}


def _run_plan(plan_for: Callable[[Session, Json], Plan], run: Run) -> Json:
    """Plan; carry the plan out unless in check mode."""
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
