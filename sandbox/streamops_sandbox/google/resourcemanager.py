"""Cloud Resource Manager v1 and v3: projects and their policies."""

from __future__ import annotations

from .errors import GoogleError, permission_denied
from .policies import allowed
from .service import Call, Json, serves
from .state import Project, State


class ResourceManager:
    """The projects there are; creating them is not modelled."""

    def __init__(self, state: State) -> None:
        self._state = state

    @serves("cloudresourcemanager.projects.get")
    async def get(self, call: Call) -> Json:
        """Read a project, in the form of the version that is called."""
        project = self._project(call, "resourcemanager.projects.get")
        common = {"projectId": project.project_id, "createTime": project.created}
        if call.method.api.version == "v1":
            return {
                **common,
                "projectNumber": project.number,
                "name": project.project_id,
                "lifecycleState": "ACTIVE",
            }
        return {
            **common,
            "name": f"projects/{project.number}",
            "displayName": project.project_id,
            "state": "ACTIVE",
        }

    @serves("cloudresourcemanager.projects.getIamPolicy")
    async def get_policy(self, call: Call) -> Json:
        """Read who may do what in the project."""
        project = self._project(call, "resourcemanager.projects.getIamPolicy")
        options = call.body.get("options", {})
        return project.policy.read(int(options.get("requestedPolicyVersion", 1)))

    @serves("cloudresourcemanager.projects.setIamPolicy")
    async def set_policy(self, call: Call) -> Json:
        """Replace who may do what in the project; somebody has to stay its owner."""
        project = self._project(call, "resourcemanager.projects.setIamPolicy")
        policy = call.body.get("policy", {})
        roles = {b.get("role") for b in policy.get("bindings", []) if b.get("members")}
        if "roles/owner" not in roles:
            raise GoogleError(
                "INVALID_ARGUMENT",
                "There must be at least one member with the roles/owner role in the policy.",
            )
        project.policy.write(policy)
        return project.policy.read(3)

    @serves("cloudresourcemanager.projects.testIamPermissions")
    async def test_permissions(self, call: Call) -> Json:
        """Which of the permissions the caller has."""
        project = self._find(call)
        asked = call.body.get("permissions", [])
        held = [p for p in asked if allowed(call.principal, p, [project.policy])]
        return {"permissions": held} if held else {}

    def _project(self, call: Call, permission: str) -> Project:
        project = self._find(call)
        self._state.require(call.principal, permission, f"projects/{project.project_id}", project)
        return project

    def _find(self, call: Call) -> Project:
        name = call.resource.removeprefix("projects/")
        consumer = self._state.project(call.principal.project, call.method.service)
        self._state.require_service(consumer, call.method.service, call.method.api.title)
        project = self._state.find_project(name)
        if project is None:
            raise permission_denied("resourcemanager.projects.get", f"projects/{name}")
        return project
