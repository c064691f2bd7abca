"""What every stand-in for a Google service is made of: calls, and handlers named by method ID."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from .discovery import Method
from .principals import Principal
from .state import Project, State

Json = dict[str, Any]
Handler = Callable[["Call"], Awaitable[Json]]
_Function = TypeVar("_Function", bound=Callable[..., Awaitable[Json]])


@dataclass(frozen=True, slots=True)
class Call:
    """One request, already checked against the discovery document.

    `path` holds the path's parameters by Google's names (`name`, `parent`, …), `query` the others;
    `lists` those that may be given several times.
    """

    method: Method
    path: Mapping[str, str]
    query: Mapping[str, str]
    lists: Mapping[str, list[str]]
    body: Json
    principal: Principal
    scope: str
    state: State

    @property
    def resource(self) -> str:
        """What the path names: the value of its one `{+…}` parameter."""
        return next(iter(self.path.values()), "")

    @property
    def parts(self) -> list[str]:
        """The segments of the resource's name: ["projects", P, "secrets", S, …]."""
        return self.resource.split("/")

    def project(self) -> Project:
        """The project that the resource is in; the call's service has to be enabled in it."""
        project = self.state.project(self.parts[1], self.method.service)
        self.state.require_service(project, self.method.service, self.method.api.title)
        return project


def serves(method_id: str) -> Callable[[_Function], _Function]:
    """Mark a function of a service as the one that answers a method of Google's."""

    def mark(function: _Function) -> _Function:
        function.__dict__["method_id"] = method_id
        return function

    return mark


def handlers(service: object) -> dict[str, Handler]:
    """The marked functions of a service, by method ID."""
    found: dict[str, Handler] = {}
    for name in dir(type(service)):
        method_id = getattr(getattr(type(service), name), "method_id", None)
        if method_id:
            found[method_id] = getattr(service, name)
    return found
