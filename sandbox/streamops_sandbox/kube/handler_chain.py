"""The request handler chain: authentication, impersonation, authorization, errors."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from urllib.parse import unquote

import orjson
from aiohttp import web

from streamops_sandbox.kube import authz, errors, requestinfo, tokens
from streamops_sandbox.kube.authn import Authentication, User, authenticated
from streamops_sandbox.kube.authz import Attributes, Authorizer
from streamops_sandbox.kube.non_resource import NonResource
from streamops_sandbox.kube.requestinfo import RequestInfo
from streamops_sandbox.kube.rest import Rest
from streamops_sandbox.request_guard import refusal

_LOG = logging.getLogger(__name__)
_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", ".cluster.local")
_EXTRA = "impersonate-extra-"


@dataclass(frozen=True, slots=True)
class HandlerChain:
    """The server's request handler."""

    authentication: Authentication
    authorizer: Authorizer
    rest: Rest
    plain: NonResource

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; whatever fails is answered with a Status."""
        try:
            return await self._handle(request)
        except errors.NoSuchRoute:
            return web.Response(status=404, text="404 page not found\n")
        except errors.StatusError as error:
            return _failure(error)
        except web.HTTPRequestEntityTooLarge:
            too_large = "Request entity too large: limit is 3145728"
            return _failure(errors.StatusError(413, "RequestEntityTooLarge", too_large))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            _LOG.exception("%s %s", request.method, request.rel_url)
            return _failure(errors.internal(f"{type(error).__name__}: {error}"))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if reason := refusal(request, _NAMES):
            raise errors.StatusError(403, "Forbidden", reason)
        watch = requestinfo.flag(request.query.get("watch"))
        info = requestinfo.parse(request.method, request.rel_url.raw_path, watch=watch)
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport else None
        user = await self.authentication.authenticate(request.headers, certificate)
        user = self._impersonated(request, user)
        self._authorize(user, _attributes(info))
        if info.is_resource:
            return await self.rest.serve(request, info, user)
        return await self.plain.serve(request, info, user)

    def _authorize(self, user: User, wanted: Attributes) -> None:
        if self.authorizer.decide(user, wanted) is not None:
            return
        why = authz.refusal(user, wanted)
        if wanted.path:
            raise errors.StatusError(403, "Forbidden", f"forbidden: {why}", details={})
        raise errors.forbidden(wanted.group, wanted.plural, wanted.name, why)

    def _impersonated(self, request: web.BaseRequest, user: User) -> User:
        """Act as somebody else, where the user may (the Impersonate-* headers)."""
        headers = request.headers
        name = headers.get("Impersonate-User", "")
        groups = headers.getall("Impersonate-Group", [])
        extra: dict[str, list[str]] = {}
        for key in headers:
            if key.lower().startswith(_EXTRA):
                extra[unquote(key[len(_EXTRA) :]).lower()] = headers.getall(key)
        if not name:
            if groups or extra:
                listed = ", ".join(f'"{group}"' for group in groups)
                raise errors.bad_request(
                    f'requested &user.DefaultInfo{{Name:"", UID:"", Groups:[]string{{{listed}}}, '
                    "Extra:map[string][]string(nil)} without impersonating a user name"
                )
            return user
        parts = name.split(":")
        is_account = len(parts) == 4 and name.startswith("system:serviceaccount:")
        who = ("serviceaccounts", "", parts[2], parts[3]) if is_account else ("users", "", "", name)
        wanted = [("", *who), *(("", "groups", "", "", group) for group in groups)]
        for key, values in extra.items():
            wanted += [("authentication.k8s.io", "userextras", key, "", value) for value in values]
        for place in wanted:
            self._authorize(user, Attributes("impersonate", *place))
        if is_account and not groups:
            groups = list(tokens.groups(parts[2]))
        return authenticated(User(name, tuple(groups), extra=extra))


def _attributes(info: RequestInfo) -> Attributes:
    if not info.is_resource:
        return Attributes(info.verb, path=info.path)
    return Attributes(
        info.verb, info.group, info.plural, info.subresource, info.namespace, info.name
    )


def _failure(error: errors.StatusError) -> web.Response:
    headers = {}
    if error.code == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="kubernetes-master"'
    retry = (error.details or {}).get("retryAfterSeconds")
    if retry:
        headers["Retry-After"] = str(retry)
    return web.Response(
        status=error.code,
        body=orjson.dumps(error.body()),
        content_type="application/json",
        headers=headers,
    )
