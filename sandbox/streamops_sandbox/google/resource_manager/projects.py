"""Cloud Resource Manager v3: who may do what in projects."""

from __future__ import annotations

from streamops_sandbox.google.errors import invalid_argument, permission_denied
from streamops_sandbox.google.iam.policies import Policy
from streamops_sandbox.google.service import Call, serves_policies


class ResourceManager:
    """The policies of the projects there are; creating and reading these is not modelled."""

    @serves_policies("cloudresourcemanager.projects", "resourcemanager.projects")
    def _policy(self, call: Call, permission: str) -> Policy:
        """Who may do what in the project; somebody has to stay its owner."""
        name = call.resource.removeprefix("projects/")
        consumer = call.state.project(call.principal.project, call.method.service)
        call.state.require_service(consumer, call.method.service, call.method.api.title)
        project = call.state.find_project(name)
        if project is None:
            raise permission_denied("resourcemanager.projects.get", f"projects/{name}")
        call.require(permission, project)
        if permission.endswith("setIamPolicy"):
            bindings = call.body.get("policy", {}).get("bindings", [])
            if "roles/owner" not in {b.get("role") for b in bindings if b.get("members")}:
                raise invalid_argument(
                    "There must be at least one member with the roles/owner role in the policy."
                )
        return project.policy
