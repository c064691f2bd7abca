"""Artifact Registry v1: repositories. What they hold is in the sandbox's own registry."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .errors import GoogleError, invalid, not_modelled
from .locations import require_location
from .operations import Operations, Work
from .policies import Policy
from .service import Call, Json, serves
from .state import Project, State, now

_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_MUTABLE = {
    "cleanupPolicies",
    "cleanupPolicyDryRun",
    "description",
    "dockerConfig",
    "labels",
    "vulnerabilityScanningConfig",
}


@dataclass(slots=True)
class Repository:
    """One repository."""

    fields: Json
    policy: Policy = field(default_factory=Policy)


class ArtifactRegistry:
    """Repositories of all projects; only the format DOCKER is modelled."""

    def __init__(self, state: State, operations: Operations) -> None:
        self._state = state
        self._operations = operations
        self._repositories: dict[str, Repository] = {}

    @serves("artifactregistry.projects.locations.repositories.create")
    async def create(self, call: Call) -> Json:
        """Create a repository, by an operation."""
        project = call.project()
        location = require_location(call.parts[3])
        parent = f"projects/{project.project_id}/locations/{location}"
        self._state.require(call.principal, "artifactregistry.repositories.create", parent, project)
        repository_id = call.query.get("repositoryId", "")
        if not _ID.fullmatch(repository_id):
            raise invalid(
                "repository_id",
                "the repository ID must start with a letter, have at most 63 lower-case letters,"
                f" digits and hyphens, and end with a letter or digit: {repository_id!r}",
            )
        name = f"{parent}/repositories/{repository_id}"
        if name in self._repositories:
            raise GoogleError("ALREADY_EXISTS", "the repository already exists")
        if call.body.get("format") in (None, "FORMAT_UNSPECIFIED"):
            raise invalid("repository.format", "the format is required")
        if call.body["format"] != "DOCKER" or call.body.get("mode", "STANDARD_REPOSITORY") != (
            "STANDARD_REPOSITORY"
        ):
            raise not_modelled("repositories other than standard ones of the format DOCKER")
        self._state.require_quota(
            "repositories",
            "artifactregistry.googleapis.com/repositories",
            len(self._repositories),
            project,
        )

        async def work() -> Json:
            moment = now()
            fields = {
                "mode": "STANDARD_REPOSITORY",
                **call.body,
                "name": name,
                "createTime": moment,
                "updateTime": moment,
                "registryUri": f"{location}-docker.pkg.dev/{project.project_id}/{repository_id}",
                "satisfiesPzi": True,
            }
            self._repositories[name] = Repository(fields)
            return {
                "@type": "type.googleapis.com/google.devtools.artifactregistry.v1.Repository",
                **fields,
            }

        return self._start(call, f"{parent}/operations", name, work)

    @serves("artifactregistry.projects.locations.repositories.get")
    async def get(self, call: Call) -> Json:
        """Read a repository."""
        _, repository = self._repository(call, "artifactregistry.repositories.get")
        return repository.fields

    @serves("artifactregistry.projects.locations.repositories.list")
    async def list_all(self, call: Call) -> Json:
        """Read the repositories of a location."""
        project = call.project()
        parent = f"projects/{project.project_id}/locations/{call.parts[3]}"
        self._state.require(call.principal, "artifactregistry.repositories.list", parent, project)
        if call.query.get("filter") or call.query.get("orderBy"):
            raise not_modelled("filter and orderBy of repositories")
        found = [
            r.fields
            for name, r in sorted(self._repositories.items())
            if name.startswith(f"{parent}/")
        ]
        shown, token = self._state.page(found, call.query)
        return {"repositories": shown, **({"nextPageToken": token} if token else {})}

    @serves("artifactregistry.projects.locations.repositories.patch")
    async def patch(self, call: Call) -> Json:
        """Change the fields that updateMask names, at once."""
        _, repository = self._repository(call, "artifactregistry.repositories.update")
        mask = [path for path in call.query.get("updateMask", "").split(",") if path]
        if not mask:
            raise invalid("update_mask", "the update mask is required")
        for path in mask:
            if path not in _MUTABLE:
                raise invalid("update_mask", f"field {path} is immutable or cannot be updated")
            repository.fields[path] = call.body.get(path, {} if path == "labels" else "")
        repository.fields["updateTime"] = now()
        return repository.fields

    @serves("artifactregistry.projects.locations.repositories.delete")
    async def delete(self, call: Call) -> Json:
        """Delete a repository with all it holds, by an operation."""
        name, _ = self._repository(call, "artifactregistry.repositories.delete")

        async def work() -> Json:
            self._repositories.pop(name, None)
            return {"@type": "type.googleapis.com/google.protobuf.Empty"}

        return self._start(call, f"{name.rpartition('/repositories/')[0]}/operations", name, work)

    @serves("artifactregistry.projects.locations.repositories.getIamPolicy")
    async def get_policy(self, call: Call) -> Json:
        """Read who may do what with the repository."""
        _, repository = self._repository(call, "artifactregistry.repositories.getIamPolicy")
        return repository.policy.read(int(call.query.get("options.requestedPolicyVersion", 1)))

    @serves("artifactregistry.projects.locations.repositories.setIamPolicy")
    async def set_policy(self, call: Call) -> Json:
        """Replace who may do what with the repository."""
        _, repository = self._repository(call, "artifactregistry.repositories.setIamPolicy")
        repository.policy.write(call.body.get("policy", {}))
        return repository.policy.read(3)

    @serves("artifactregistry.projects.locations.operations.get")
    async def get_operation(self, call: Call) -> Json:
        """Read an operation."""
        call.project()
        return self._operations.get(call.resource).standard()

    def _start(self, call: Call, prefix: str, target: str, work: Work) -> Json:
        return self._operations.start(
            prefix, call.method.service, call.method.id, target, work
        ).standard()

    def _repository(self, call: Call, permission: str) -> tuple[str, Repository]:
        project = call.project()
        name = _canonical(call, project)
        repository = self._repositories.get(name)
        policies = [repository.policy] if repository else []
        self._state.require(call.principal, permission, name, project, *policies)
        if repository is None:
            raise GoogleError("NOT_FOUND", f"Requested entity was not found: {name}")
        return name, repository


def _canonical(call: Call, project: Project) -> str:
    return "/".join(["projects", project.project_id, *call.parts[2:]])
