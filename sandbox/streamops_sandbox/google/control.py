"""The control interface of Google's stand-in: faults, projects, principals.

Served on the sandbox's control socket only. sandbox/docs/google.md documents the requests.
"""

from __future__ import annotations

import asyncio
import fnmatch
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from .container import Container
from .errors import HTTP_STATUS, GoogleError
from .operations import OperationFault, Operations
from .principals import Principal
from .service import Call, Handler
from .state import State
from .tokens import Tokens


@dataclass(slots=True)
class Fault:
    """The next `times` calls of methods that match the pattern `method` fail.

    With `carried_out` they do what they are asked to, and only the answer is lost, or with the status
    OK comes `seconds` later.
    """

    method: str
    status: str
    message: str
    times: int
    details: list[dict[str, Any]]
    carried_out: bool
    seconds: float


class Control:
    """The control endpoint, and the faults it plans."""

    def __init__(
        self,
        state: State,
        tokens: Tokens,
        operations: Operations,
        container: Container,
        base_url: str,
    ) -> None:
        self._state = state
        self._tokens = tokens
        self._operations = operations
        self._container = container
        self._base_url = base_url
        self._faults: list[Fault] = []
        self.calls: list[dict[str, str]] = []

    def routes(self) -> list[web.RouteDef]:
        """All of them take and answer JSON."""
        return [
            web.get("/calls", self._list_calls),
            web.delete("/calls", self._clear_calls),
            web.post("/faults", self._add_fault),
            web.delete("/faults", self._clear_faults),
            web.post("/operation-faults", self._add_operation_fault),
            web.patch("/clusters/{name:.+}", self._change_cluster),
            web.post("/projects", self._add_project),
            web.patch("/projects/{project}", self._change_project),
            web.put("/quotas/{kind}", self._set_quota),
            web.put("/pages", self._set_pages),
            web.post("/principals", self._add_principal),
            web.put("/tokens", self._set_tokens),
        ]

    async def answer(self, call: Call, handler: Handler) -> dict[str, Any]:
        """Note the call; its answer, or the fault that was planned for it."""
        self.calls.append(
            {
                "method": call.method.id,
                "resource": call.resource,
                "principal": call.principal.member,
            }
        )
        del self.calls[:-1000]
        fault = self._fault(call)
        if fault and not fault.carried_out:
            raise GoogleError(fault.status, fault.message, fault.details)
        answer = await handler(call)
        if fault:
            await asyncio.sleep(fault.seconds)
            if fault.status != "OK":
                raise GoogleError(fault.status, fault.message, fault.details)
        return answer

    def _fault(self, call: Call) -> Fault | None:
        for fault in self._faults:
            if fault.times > 0 and fnmatch.fnmatchcase(call.method.id, fault.method):
                fault.times -= 1
                return fault
        return None

    async def _list_calls(self, request: web.Request) -> web.Response:
        return web.json_response({"calls": self.calls})

    async def _clear_calls(self, request: web.Request) -> web.Response:
        self.calls.clear()
        return web.json_response({})

    async def _add_fault(self, request: web.Request) -> web.Response:
        body = await request.json()
        status = body.get("status", "UNAVAILABLE")
        if status not in (*HTTP_STATUS, "OK"):
            raise GoogleError("INVALID_ARGUMENT", f"status is one of {sorted(HTTP_STATUS)}")
        self._faults.append(
            Fault(
                method=body["method"],
                status=status,
                message=body.get("message", "The service is currently unavailable."),
                times=int(body.get("times", 1)),
                details=body.get("details", []),
                carried_out=status == "OK" or bool(body.get("carriedOut", False)),
                seconds=float(body.get("seconds", 0)),
            )
        )
        return web.json_response({})

    async def _add_operation_fault(self, request: web.Request) -> web.Response:
        """The next operation of a type takes longer, or fails where a message is given."""
        body = await request.json()
        self._operations.faults.append(
            OperationFault(body["type"], body.get("message", ""), float(body.get("seconds", 0)))
        )
        return web.json_response({})

    async def _change_cluster(self, request: web.Request) -> web.Response:
        body = await request.json()
        self._container.set_status(
            request.match_info["name"], body["status"], body.get("statusMessage", "")
        )
        return web.json_response({})

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self._faults.clear()
        self._operations.faults.clear()
        return web.json_response({})

    async def _add_project(self, request: web.Request) -> web.Response:
        body = await request.json()
        project = self._state.add_project(
            body["projectId"],
            body.get("owners", []),
            services=set(body.get("services", [])),
            billing=body.get("billing", True),
        )
        return web.json_response({"projectId": project.project_id, "number": project.number})

    async def _change_project(self, request: web.Request) -> web.Response:
        body = await request.json()
        project = self._state.project(request.match_info["project"], "")
        project.billing = body.get("billing", project.billing)
        if "services" in body:
            project.services = set(body["services"])
        return web.json_response({})

    async def _set_quota(self, request: web.Request) -> web.Response:
        kind, limit = request.match_info["kind"], (await request.json())["limit"]
        if limit is None:
            self._state.quotas.pop(kind, None)
        else:
            self._state.quotas[kind] = int(limit)
        return web.json_response({})

    async def _set_pages(self, request: web.Request) -> web.Response:
        body = await request.json()
        self._state.largest_page = int(body.get("size") or 0)
        return web.json_response({})

    async def _add_principal(self, request: web.Request) -> web.Response:
        """Answer credentials of a user or a service account: a key file, or an authorized_user file."""
        body = await request.json()
        principal = Principal(body["member"], body["project"], str(10**20 + self._state.next_id()))
        if principal.member.startswith("serviceAccount:"):
            return web.json_response(self._tokens.new_key(principal, self._base_url))
        if principal.member.startswith("user:"):
            return web.json_response(self._tokens.new_user(principal))
        issued = self._tokens.issue(principal, "https://www.googleapis.com/auth/cloud-platform")
        return web.json_response(issued)

    async def _set_tokens(self, request: web.Request) -> web.Response:
        """Shorten the lifetime of access tokens, or revoke all there are."""
        body = await request.json()
        self._tokens.lifetime = int(body.get("lifetime", self._tokens.lifetime))
        if body.get("revoke"):
            self._tokens.revoke_all()
        return web.json_response({})
