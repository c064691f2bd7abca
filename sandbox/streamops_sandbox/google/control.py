"""The control interface of Google's stand-in: faults, projects, principals.

Served on the sandbox's control socket only. sandbox/docs/google.md documents the requests.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from streamops_sandbox import control_socket
from streamops_sandbox.google.errors import HTTP_STATUS, GoogleError
from streamops_sandbox.google.iam.principals import Principal
from streamops_sandbox.google.oauth.tokens import CLOUD_PLATFORM, Tokens
from streamops_sandbox.google.operations import OperationFault, Operations
from streamops_sandbox.google.projects import State
from streamops_sandbox.google.service import Call, Handler
from streamops_sandbox.objects import Object


@dataclass(slots=True)
class Fault:
    """The next `times` calls of methods that match the pattern `method` fail.

    With `carried_out` they do what they are asked to, and only the answer is lost, or with the status
    OK comes `seconds` later.
    """

    method: str
    status: str = "UNAVAILABLE"
    message: str = "The service is currently unavailable."
    times: int = 1
    details: list[dict[str, Any]] = field(default_factory=list)
    carried_out: bool = False
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.status not in (*HTTP_STATUS, "OK"):
            raise ValueError(f"status is one of {sorted(HTTP_STATUS)}")


class Control:
    """The control endpoint, and the faults it plans."""

    def __init__(self, state: State, tokens: Tokens, operations: Operations, base_url: str) -> None:
        self._state, self._tokens, self._operations = state, tokens, operations
        self._base_url = base_url
        self._faults: list[Fault] = []
        self.calls: deque[dict[str, str]] = deque(maxlen=1000)

    def application(self) -> web.Application:
        """Return the application that serves it."""
        return control_socket.application(
            {
                "GET /calls": lambda _: {"calls": list(self.calls)},
                "DELETE /calls": lambda _: self.calls.clear(),
                "POST /faults": lambda body: self._faults.append(Fault(**body)),
                "DELETE /faults": self._clear_faults,
                "POST /operation-faults": lambda body: self._operations.faults.append(
                    OperationFault(**body)
                ),
                "POST /projects": self._add_project,
                "PUT /pages": self._set_pages,
                "POST /principals": self._add_principal,
                "PUT /tokens": self._set_tokens,
            }
        )

    async def answer(self, call: Call, handler: Handler) -> dict[str, Any]:
        """Note the call; its answer, or the fault that was planned for it."""
        method = call.method.id
        self.calls.append(
            {"method": method, "resource": call.resource, "principal": call.principal.member}
        )
        for fault in self._faults:
            if fault.times > 0 and fnmatch.fnmatchcase(method, fault.method):
                break
        else:
            return await handler(call)
        fault.times -= 1
        if fault.carried_out or fault.status == "OK":
            answer = await handler(call)
            await asyncio.sleep(fault.seconds)
        if fault.status != "OK":
            raise GoogleError(fault.status, fault.message, fault.details)
        return answer

    def _clear_faults(self, _: None) -> None:
        self._faults.clear()
        self._operations.faults.clear()

    def _add_project(self, body: Object) -> Object:
        project = self._state.add_project(
            body["projectId"], body.get("owners", []), services=set(body.get("services", []))
        )
        return {"projectId": project.project_id, "number": project.number}

    def _set_pages(self, body: Object) -> None:
        self._state.largest_page = int(body.get("size") or 0)

    def _add_principal(self, body: Object) -> Object:
        """Answer credentials of a user or a service account: a key file, or an authorized_user file."""
        principal = Principal(body["member"], body["project"], self._state.unique_id())
        if principal.member.startswith("serviceAccount:"):
            return self._tokens.new_key(principal, self._base_url)
        if principal.member.startswith("user:"):
            return self._tokens.new_user(principal)
        return self._tokens.issue(principal, CLOUD_PLATFORM)

    def _set_tokens(self, body: Object) -> None:
        """Shorten the lifetime of access tokens, or revoke all there are."""
        self._tokens.lifetime = int(body.get("lifetime", self._tokens.lifetime))
        if body.get("revoke"):
            self._tokens.revoke_all()
