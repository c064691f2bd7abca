"""Google's APIs on one port: every request is checked against the discovery documents, then answered."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from aiohttp.typedefs import Handler as RequestHandler

from streamops_sandbox.clusters import Clusters
from streamops_sandbox.control_socket import CONTROL
from streamops_sandbox.google import discovery
from streamops_sandbox.google.artifact_registry.repositories import ArtifactRegistry
from streamops_sandbox.google.container.service import Container
from streamops_sandbox.google.control import Control
from streamops_sandbox.google.errors import GoogleError, OAuthError, invalid_argument, not_modelled
from streamops_sandbox.google.iam.accounts import Iam
from streamops_sandbox.google.iam.principals import Principal
from streamops_sandbox.google.oauth.endpoints import OAuth
from streamops_sandbox.google.oauth.tokens import Tokens, unauthenticated
from streamops_sandbox.google.operations import Operations
from streamops_sandbox.google.projects import State
from streamops_sandbox.google.resource_manager.projects import ResourceManager
from streamops_sandbox.google.secret_manager.service import SecretManager
from streamops_sandbox.google.service import Call, Handler, handlers
from streamops_sandbox.google.service_usage.services import ServiceUsage
from streamops_sandbox.home import write_private
from streamops_sandbox.request_guard import guard

PROJECT = "sandbox-project"
ACCOUNT = f"automation@{PROJECT}.iam.gserviceaccount.com"
MAX_BODY_BYTES = 10 * 1024 * 1024
_ECHO = frozenset({"name"})
_logger = logging.getLogger(__name__)


class Google:
    """Dispatches requests to the services."""

    def __init__(self, base_url: str, clusters: Clusters, enabled_services: Iterable[str]) -> None:
        self.state, self.tokens, self.operations = State(), Tokens(), Operations()
        state = self.state
        self.account = Principal(f"serviceAccount:{ACCOUNT}", PROJECT, "101234567890123456789")
        project = state.add_project(PROJECT, [self.account.member], services=set(enabled_services))
        self.oauth = OAuth(state, self.tokens, clusters, base_url)
        self.control = Control(state, self.tokens, self.operations, base_url)
        self._handlers: dict[str, Handler] = {}
        for service in (
            self.operations,
            SecretManager(),
            Container(self.operations, clusters, base_url),
            ArtifactRegistry(self.operations),
            ServiceUsage(self.operations),
            Iam(self.tokens, project, self.account),
            ResourceManager(),
        ):
            self._handlers |= handlers(service)

    async def dispatch(self, request: web.Request) -> web.Response:
        """Answer a request to a googleapis.com API."""
        path = unquote(request.rel_url.raw_path).lstrip("/")
        candidates = discovery.match(request.method, path)
        host = request.host.partition(":")[0]
        if host.endswith(".googleapis.com"):  # reached through a proxy: the service is named
            candidates = [m for m in candidates if m.service == host]
        if not candidates:
            problem = f"The requested URL {request.method} /{path} was not found on this server."
            raise GoogleError("NOT_FOUND", problem)
        method = self._choose(candidates, path)
        principal = self._caller(request, method)
        handler = self._handlers.get(method.id)
        if handler is None:
            raise not_modelled(f"the method {method.id}")
        call = Call(
            method=method,
            path=found.groupdict() if (found := method.path.fullmatch(path)) else {},
            query=method.api.check_query(method, request.query.items()),
            body=await _body(request, method),
            principal=principal,
            state=self.state,
        )
        return web.json_response(await self.control.answer(call, handler))

    def _choose(self, candidates: list[discovery.Method], path: str) -> discovery.Method:
        """Two services may have a path: operations know theirs, else what is modelled answers."""
        service = self.operations.service_of(path.partition("/")[2])
        return next(
            (m for m in candidates if m.service == service),
            next((m for m in candidates if m.id in self._handlers), candidates[0]),
        )

    def _caller(self, request: web.Request, method: discovery.Method) -> Principal:
        kind, _, value = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer":
            problem, reason = "is missing required authentication credential", "CREDENTIALS_MISSING"
            raise unauthenticated(problem, reason, service=method.service, method=method.id)
        return self.tokens.lookup(value.strip()).principal


def create_app(
    *,
    home: Path,
    base_url: str,
    clusters: Clusters,
    enabled_services: Iterable[str] = (),
) -> web.Application:
    """The application that answers as Google's APIs at `base_url`; [CONTROL] is its control interface.

    Writes `service-account.json` into `home`: the key of the account that owns the one project
    there is at first, `sandbox-project`. As in a new project, no service is enabled, except
    those in `enabled_services` (DNS names such as `secretmanager.googleapis.com`).
    """
    google = Google(base_url, clusters, enabled_services)
    write_private(home / "service-account.json", google.tokens.new_key(google.account, base_url))
    app = web.Application(
        middlewares=[guard(".googleapis.com"), _errors], client_max_size=MAX_BODY_BYTES
    )
    app[CONTROL] = google.control.application()
    app.add_routes(google.oauth.routes())
    app.router.add_route("*", "/{path:.*}", google.dispatch)
    app.on_cleanup.append(lambda _: google.operations.close())
    return app


@web.middleware
async def _errors(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
    """Errors in Google's form."""
    try:
        return await handler(request)
    except (GoogleError, OAuthError) as error:
        return error.response()
    except web.HTTPException:
        raise
    except Exception:
        _logger.exception("%s %s", request.method, request.path)
        return GoogleError("INTERNAL", "The sandbox failed; its log says why.").response()


async def _body(request: web.Request, method: discovery.Method) -> dict[str, Any]:
    text = (await request.text()).strip()
    try:
        raw = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise invalid_argument(f"Invalid JSON payload received. {error.msg}.") from None
    return method.api.check_body(method.request, raw, echo=_ECHO) if method.request else {}
