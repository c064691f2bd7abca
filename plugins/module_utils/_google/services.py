"""Services of a project, and whether they are enabled.

https://cloud.google.com/service-usage/docs/reference/rest/v1/services.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .errors import ConfigError, UnexpectedAnswer
from .plan import Plan
from .session import Session

MAX_READ_AT_ONCE = 30
MAX_PER_PAGE = 200
#: https://cloud.google.com/service-usage/docs/reference/rest/v1/services/batchEnable
MAX_ENABLED_AT_ONCE = 20
_NAME = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")


@dataclass(frozen=True)
class Service:
    """One service of a project."""

    is_enabled: bool
    project_number: str


def check_names(names: Iterable[str]) -> list[str]:
    """Return the names in order, each once; raise ConfigError for an invalid one."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"services: '{name}' is not a valid service name, for example container.googleapis.com"
            )
    return sorted(set(names))


def states(session: Session, names: list[str]) -> dict[str, Service]:
    """Return the services named."""
    parent = f"projects/{session.project}"
    found: dict[str, Service] = {}
    for some in batches(names, MAX_READ_AT_ONCE):
        query = [f"{parent}/services/{name}" for name in some]
        path = f"v1/{parent}/services:batchGet"
        found |= dict(map(_read, session.pages("serviceusage", path, "services", names=query)))
    missing = sorted(set(names) - set(found))
    if missing:
        raise UnexpectedAnswer(f"GET {parent}/services:batchGet", f"without {', '.join(missing)}")
    return {name: found[name] for name in names}


def enabled(session: Session) -> dict[str, Service]:
    """Return all services that are enabled."""
    path = f"v1/projects/{session.project}/services"
    query: dict[str, Any] = {"filter": "state:ENABLED", "pageSize": MAX_PER_PAGE}
    return dict(map(_read, session.pages("serviceusage", path, "services", **query)))


def plan_enabling(plan: Plan, session: Session, names: list[str], timeout: int) -> None:
    """Add the steps that enable services; `timeout`, in seconds, is that of each operation."""
    for some in batches(names, MAX_ENABLED_AT_ONCE):
        plan.add(f"enable {', '.join(some)}", functools.partial(_enable, session, some, timeout))


def _enable(session: Session, names: list[str], timeout: int) -> None:
    path = f"v1/projects/{session.project}/services:batchEnable"
    operation = session.post("serviceusage", path, {"serviceIds": names})
    session.wait_lro("serviceusage", operation, timeout)
    session.enabling = False


def batches(names: list[str], size: int) -> list[list[str]]:
    """Return the names, at most `size` at a time."""
    return [names[start : start + size] for start in range(0, len(names), size)]


def _read(service: dict[str, Any]) -> tuple[str, Service]:
    """Return the name and state, from `projects/NUMBER/services/NAME` and what is with it."""
    _projects, number, _services, name = service["name"].split("/")
    return name, Service(service.get("state") == "ENABLED", number)
