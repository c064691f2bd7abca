"""Artifact Registry v1: repositories. What they hold is in the sandbox's own registry."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from streamops_sandbox.google.errors import GoogleError, invalid, not_modelled
from streamops_sandbox.google.iam.policies import Policy
from streamops_sandbox.google.operations import Operations
from streamops_sandbox.google.projects import now, require_location
from streamops_sandbox.google.service import Call, serves, serves_policies
from streamops_sandbox.objects import Object

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

    fields: Object
    policy: Policy = field(default_factory=Policy)


class ArtifactRegistry:
    """Repositories of all projects; only the format DOCKER is modelled."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._repositories: dict[str, Repository] = {}

    @serves("artifactregistry.projects.locations.repositories.create")
    async def _create(self, call: Call) -> Object:
        project = call.admit("artifactregistry.repositories.create")
        location = require_location(call.parts[3])
        parent = f"projects/{project.project_id}/locations/{location}"
        repository_id = call.query.get("repositoryId", "")
        if not _ID.fullmatch(repository_id):
            raise invalid(
                "repository_id",
                "the repository ID must start with a letter, have at most 63 lower-case letters,"
                f" digits and hyphens, and end with a letter or digit: {repository_id!r}",
            )
        name = f"{parent}/repositories/{repository_id}"
        if name in self._repositories or self._operations.running(name):
            raise GoogleError("ALREADY_EXISTS", "the repository already exists")
        modes = (None, "STANDARD_REPOSITORY")
        if call.body.get("format") != "DOCKER" or call.body.get("mode") not in modes:
            raise not_modelled("repositories other than standard ones of the format DOCKER")

        async def work() -> Object:
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

        return self._operations.start(f"{parent}/operations", call.method, name, work).standard()

    @serves("artifactregistry.projects.locations.repositories.get")
    async def _get(self, call: Call) -> Object:
        return self._repository(call, "artifactregistry.repositories.get")[1].fields

    @serves("artifactregistry.projects.locations.repositories.list")
    async def _list_all(self, call: Call) -> Object:
        project = call.admit("artifactregistry.repositories.list")
        parent = f"projects/{project.project_id}/locations/{call.parts[3]}"
        if call.query.get("filter") or call.query.get("orderBy"):
            raise not_modelled("filter and orderBy of repositories")
        found = sorted(self._repositories.items())
        return call.page("repositories", [r.fields for n, r in found if n.startswith(f"{parent}/")])

    @serves("artifactregistry.projects.locations.repositories.patch")
    async def _patch(self, call: Call) -> Object:
        """Change the fields that updateMask names, at once."""
        _, repository = self._repository(call, "artifactregistry.repositories.update")
        if not call.mask:
            raise invalid("update_mask", "the update mask is required")
        for path in call.mask:
            if path not in _MUTABLE:
                raise invalid("update_mask", f"field {path} is immutable or cannot be updated")
            repository.fields[path] = call.body.get(path, {} if path == "labels" else "")
        repository.fields["updateTime"] = now()
        return repository.fields

    @serves("artifactregistry.projects.locations.repositories.delete")
    async def _delete(self, call: Call) -> Object:
        name, _ = self._repository(call, "artifactregistry.repositories.delete")

        async def work() -> Object:
            self._repositories.pop(name, None)
            return {"@type": "type.googleapis.com/google.protobuf.Empty"}

        prefix = f"{name.rpartition('/repositories/')[0]}/operations"
        return self._operations.start(prefix, call.method, name, work).standard()

    @serves_policies(
        "artifactregistry.projects.locations.repositories", "artifactregistry.repositories"
    )
    def _policy(self, call: Call, permission: str) -> Policy:
        return self._repository(call, permission)[1].policy

    def _repository(self, call: Call, permission: str) -> tuple[str, Repository]:
        project = call.project()
        name = "/".join(["projects", project.project_id, *call.parts[2:]])
        repository = self._repositories.get(name)
        call.require(permission, project, *([repository.policy] if repository else []))
        if repository is None:
            raise GoogleError("NOT_FOUND", f"Requested entity was not found: {name}")
        return name, repository
