"""What every stand-in for a Google service is made of: calls, and handlers named by method ID."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from streamops_sandbox.google.discovery import Method
from streamops_sandbox.google.errors import invalid_argument, permission_denied
from streamops_sandbox.google.iam.policies import Policy, allowed
from streamops_sandbox.google.iam.principals import Principal
from streamops_sandbox.google.projects import Project, State
from streamops_sandbox.objects import Object

Handler = Callable[["Call"], Awaitable[Object]]
#: Finds the policy of the resource that a call names, for who has a permission.
FindPolicy = Callable[[Any, "Call", str], Policy]
_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Call:
    """One request, already checked against the discovery document.

    `path` holds the path's parameters by Google's names (`name`, `parent`, …), `query` the others:
    lists of those that may be given several times.
    """

    method: Method
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Object
    principal: Principal
    state: State

    @property
    def resource(self) -> str:
        """What the path names: the value of its one `{+…}` parameter."""
        return next(iter(self.path.values()), "")

    @property
    def parts(self) -> list[str]:
        """The segments of the resource's name: ["projects", P, "secrets", S, …]."""
        return self.resource.split("/")

    @property
    def mask(self) -> list[str]:
        """The paths of the query's updateMask."""
        return [path for path in self.query.get("updateMask", "").split(",") if path]

    def project(self) -> Project:
        """The project that the resource is in; the call's service has to be enabled in it."""
        project = self.state.project(self.parts[1], self.method.service)
        self.state.require_service(project, self.method.service, self.method.api.title)
        return project

    def require(self, permission: str, project: Project, *policies: Policy) -> None:
        """PERMISSION_DENIED unless a policy of the resource or its project allows the caller it."""
        if not allowed(self.principal, permission, (*policies, project.policy)):
            raise permission_denied(permission, self.resource)

    def admit(self, permission: str) -> Project:
        """The project, whose policy has to allow the caller what it asks for."""
        project = self.project()
        self.require(permission, project)
        return project

    def page(self, key: str, items: Sequence[Object], default_size: int = 25000) -> Object:
        """One page of a list as it is answered, with the token of the next one."""
        try:
            start = int(self.query.get("pageToken") or 0)
        except ValueError:
            raise invalid_argument("The page token is invalid.") from None
        size = int(self.query.get("pageSize") or 0) or default_size
        end = start + min(size, self.state.largest_page or size)
        token = {"nextPageToken": str(end)} if end < len(items) else {}
        return ({key: items[start:end]} if items[start:end] else {}) | token


def serves(*method_ids: str) -> Callable[[_Function], _Function]:
    """Mark a function of a service as the one that answers methods of Google's."""

    def mark(function: _Function) -> _Function:
        function.__dict__["method_ids"] = method_ids
        return function

    return mark


def serves_policies(resources: str, permissions: str) -> Callable[[FindPolicy], Any]:
    """Answer getIamPolicy and setIamPolicy with what finds a resource's policy.

    `resources` is what method IDs begin with, `permissions` likewise.
    """

    def mark(find: FindPolicy) -> Callable[[Any, Call], Awaitable[Object]]:
        @serves(f"{resources}.getIamPolicy", f"{resources}.setIamPolicy")
        async def answer(service: Any, call: Call) -> Object:
            verb = call.method.id.rpartition(".")[2]
            policy = find(service, call, f"{permissions}.{verb}")
            if verb == "setIamPolicy":
                policy.write(call.body.get("policy", {}))
                return policy.read(3)
            version = call.body.get("options", {}).get("requestedPolicyVersion", 1)
            return policy.read(int(call.query.get("options.requestedPolicyVersion", version)))

        return answer

    return mark


def handlers(service: object) -> dict[str, Handler]:
    """The marked functions of a service, by method ID."""
    functions = [getattr(service, name) for name in dir(type(service))]
    return {name: f for f in functions for name in getattr(f, "method_ids", ())}
