"""Cloud Resource Manager v1 and v3: projects and their policies."""

from __future__ import annotations

from streamops_sandbox.google.errors import invalid_argument, permission_denied
from streamops_sandbox.google.iam.policies import Policy
from streamops_sandbox.google.projects import Project
from streamops_sandbox.google.service import Call, serves, serves_policies
from streamops_sandbox.objects import Object


class ResourceManager:
    """The projects there are; creating them is not modelled."""

    @serves("cloudresourcemanager.projects.get")
    async def get(self, call: Call) -> Object:
        """Read a project, in the form of the version that is called."""
        project = _project(call, "resourcemanager.projects.get")
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

    @serves_policies("cloudresourcemanager.projects", "resourcemanager.projects")
    def policy(self, call: Call, permission: str) -> Policy:
        """Who may do what in the project; somebody has to stay its owner."""
        project = _project(call, permission)
        if permission.endswith("setIamPolicy"):
            bindings = call.body.get("policy", {}).get("bindings", [])
            if "roles/owner" not in {b.get("role") for b in bindings if b.get("members")}:
                raise invalid_argument(
                    "There must be at least one member with the roles/owner role in the policy."
                )
        return project.policy


def _project(call: Call, permission: str) -> Project:
    name = call.resource.removeprefix("projects/")
    consumer = call.state.project(call.principal.project, call.method.service)
    call.state.require_service(consumer, call.method.service, call.method.api.title)
    project = call.state.find_project(name)
    if project is None:
        raise permission_denied("resourcemanager.projects.get", f"projects/{name}")
    call.require(permission, f"projects/{project.project_id}", project)
    return project
