"""The registry's aiohttp application: routes, and errors as the specification words them."""

from __future__ import annotations

import errno
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from streamops_sandbox.registry.auth import TokenAuth
from streamops_sandbox.registry.base_image import add_base_image
from streamops_sandbox.registry.content import Content
from streamops_sandbox.registry.errors import RegistryError
from streamops_sandbox.registry.handlers import Handlers
from streamops_sandbox.request_guard import guard


def create_app(
    *,
    home: Path,
    base_url: str,
    anonymous_pull: bool = True,
    google_tokeninfo_url: str | None = None,
) -> web.Application:
    """Make the registry that serves `base_url` and keeps its blobs in `home`/registry.

    Contract: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md. Writes
    `home`/docker-config.json with the credentials that may push. With `google_tokeninfo_url`
    Google's access tokens are taken as Artifact Registry does.
    """
    content = Content(home / "registry")
    add_base_image(content)
    auth = TokenAuth(home, base_url, anonymous_pull, google_tokeninfo_url)
    app = web.Application(middlewares=[guard(), _errors], client_max_size=1 << 20)
    app.add_routes(Handlers(content, auth).routes())
    return app


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except RegistryError as error:
        response = error.response()
    except web.HTTPMethodNotAllowed:
        response = RegistryError("UNSUPPORTED", {"method": request.method}).response()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        response = RegistryError("UNKNOWN", message=f"cannot store: {error.strerror}").response()
    if not response.prepared:
        response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
    return response
