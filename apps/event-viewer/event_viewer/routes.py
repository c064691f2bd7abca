"""Resources: each path's operations, and the one place where they are authorised."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from event_viewer.auth import Auth, Right, cross_site
from event_viewer.http import RETRY_AFTER, Disconnected, Problem, error_answer
from event_viewer.store.interface import StoreError

log = logging.getLogger(__name__)

#: Methods that change nothing, which pages of other sites may therefore use.
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Operation:
    """What one method of a path does, and the rights it needs; an empty set makes it public."""

    rights: frozenset[Right]
    handler: ASGIApp
    #: Whether HEAD is served as well; only for GET.
    head: bool = True


class Resource:
    """ASGI application of one path. What it does not list is refused."""

    def __init__(self, auth: Auth, **operations: Operation) -> None:
        self.auth = auth
        self.operations = operations
        if "GET" in operations and operations["GET"].head:
            self.operations = {"HEAD": operations["GET"], **operations}
        self.allow = ", ".join(sorted(self.operations)).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authorise a request, then serve it."""
        with contextlib.suppress(Disconnected):
            try:
                operation = self._authorised(scope)
                await operation.handler(scope, receive, send)
            except Problem as problem:
                answer = error_answer(problem.status, problem.reason, problem.headers)
                await answer(scope, receive, send)
            except StoreError as error:
                reason = f"the history cannot be read: {error}"
                await error_answer(503, reason, RETRY_AFTER)(scope, receive, send)

    def _authorised(self, scope: Scope) -> Operation:
        method = scope["method"]
        operation = self.operations.get(method)
        if operation is None:
            raise Problem(405, f"{method} is not supported here", ((b"allow", self.allow),))
        if method not in SAFE and cross_site(scope):
            raise Problem(403, "requests from pages of other sites are refused")
        self.auth.require(scope, operation.rights)
        return operation


def answering(handler: Callable[[Request], Awaitable[ASGIApp]]) -> ASGIApp:
    """Return the ASGI application that sends what `handler` returns for a request."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        answer = await handler(Request(scope, receive))
        await answer(scope, receive, send)

    return serve


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve every path without a resource."""
    if scope["type"] == "http":
        await error_answer(404, "there is nothing at this path")(scope, receive, send)
