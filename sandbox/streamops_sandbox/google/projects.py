"""Projects: their services and policies; where Google Cloud is; pages of lists."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from streamops_sandbox.google.errors import GoogleError, error_info, invalid
from streamops_sandbox.google.iam.policies import Policy

#: Services that need no enabling: without them nothing could be enabled.
ALWAYS_ENABLED = frozenset({"serviceusage.googleapis.com", "iamcredentials.googleapis.com"})
#: https://cloud.google.com/about/locations: a continent, a part of it and a number.
_REGION = re.compile(
    r"(africa|asia|australia|europe|me|northamerica|southamerica|us)"
    r"-(north|south)?(central|east|north|south|west)\d{1,2}"
)

_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63}")


def is_region(location: str) -> bool:
    """Whether this is a region, rather than a zone."""
    return _REGION.fullmatch(location) is not None


def require_location(location: str) -> str:
    """The location, which has to be a region or a zone of one."""
    if not is_region(re.sub(r"-[a-f]$", "", location)):
        problem = f"Permission denied on 'locations/{location}' (or it may not exist)."
        raise GoogleError("PERMISSION_DENIED", problem)
    return location


def check_labels(field: str, labels: Mapping[str, str]) -> None:
    """INVALID_ARGUMENT for labels that Google does not take."""
    for key, value in labels.items():
        if not _LABEL.fullmatch(f"{key}={value}"):
            raise invalid(field, f"Invalid label: {key}={value}")


def now() -> str:
    """The time as Google's APIs write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(slots=True)
class Project:
    """One project."""

    project_id: str
    number: str
    services: set[str] = field(default_factory=set)
    policy: Policy = field(default_factory=Policy)

    @property
    def workload_pool(self) -> str:
        """The pool that GKE gives the project's clusters."""
        return f"{self.project_id}.svc.id.goog"


@dataclass(slots=True)
class State:
    """Everything in memory; a new sandbox starts empty but for its first project."""

    projects: dict[str, Project] = field(default_factory=dict)
    #: The most items that a list answers at once, settable by a test; 0: what each service allows.
    largest_page: int = 0
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(704512398001))
    _sequence: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def add_project(self, project_id: str, owners: Iterable[str], **settings: Any) -> Project:
        """A new project that `owners` (members, as in policies) own."""
        project = Project(project_id, str(next(self._numbers)), **settings)
        project.policy.write({"bindings": [{"role": "roles/owner", "members": list(owners)}]})
        self.projects[project_id] = project
        return project

    def find_project(self, id_or_number: str) -> Project | None:
        """A project by its ID or its number."""
        by_id = self.projects.get(id_or_number)
        return by_id or next((p for p in self.projects.values() if p.number == id_or_number), None)

    def project(self, id_or_number: str, service: str) -> Project:
        """The project that a request to `service` names.

        Google tells a project that does not exist from one it may not be used by in the same words.
        """
        project = self.find_project(id_or_number)
        if project is None:
            info = error_info(
                "CONSUMER_INVALID",
                consumer=f"projects/{id_or_number}",
                service=service,
                containerInfo=id_or_number,
            )
            problem = f"Permission denied on resource project {id_or_number}."
            raise GoogleError("PERMISSION_DENIED", problem, [info])
        return project

    def require_service(self, project: Project, service: str, title: str) -> None:
        """SERVICE_DISABLED where the project cannot use the service."""
        if service in project.services or service in ALWAYS_ENABLED:
            return
        site = "https://console.developers.google.com"
        url = f"{site}/apis/api/{service}/overview?project={project.number}"
        info = error_info(
            "SERVICE_DISABLED",
            service=service,
            serviceTitle=title,
            consumer=f"projects/{project.number}",
            containerInfo=project.number,
            activationUrl=url,
        )
        raise GoogleError(
            "PERMISSION_DENIED",
            f"{title} has not been used in project {project.number} before or it is disabled. Enable"
            f" it by visiting {url} then retry. If you enabled this API recently, wait a few minutes"
            " for the action to propagate to our systems and retry.",
            [info],
        )

    def unique_id(self) -> str:
        """An account's numeric ID that was not given before."""
        return str(10**20 + next(self._sequence))
