"""The HTTP side: from a request to the part that answers it, and back."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

import aiohttp
import orjson
from aiohttp import web
from multidict import MultiMapping

from streamops_sandbox.kube import (
    builtin_schemas,
    codec,
    conversion,
    decoding,
    deletion,
    errors,
    listing,
    negotiation,
    patching,
    requestinfo,
)
from streamops_sandbox.kube.api import Api, Write
from streamops_sandbox.kube.authn import Authentication, User
from streamops_sandbox.kube.authz import Authorizer
from streamops_sandbox.kube.discovery import subresource_verbs
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.objects import Objects
from streamops_sandbox.kube.requestinfo import RequestInfo
from streamops_sandbox.kube.resources import Resource
from streamops_sandbox.kube.tokens import TokenSigner
from streamops_sandbox.kube.watching import Watch
from streamops_sandbox.objects import Object

#: Answers a request to a resource.
Handler = Callable[["Call"], Awaitable[web.StreamResponse]]

_MAX_MANAGER = 128
_DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"


@dataclass(slots=True)
class ServerContext:
    """The parts of one server that requests to resources need."""

    api: Api
    objects: Objects
    authentication: Authentication
    authorizer: Authorizer
    signer: TokenSigner
    session: aiohttp.ClientSession
    #: Makes the TLS context of connections to kubelets.
    kubelet_trust: Callable[[], ssl.SSLContext]


@dataclass(slots=True)
class Call:
    """One authorised request to a resource."""

    request: web.BaseRequest
    info: RequestInfo
    resource: Resource
    user: User
    server: ServerContext
    body: bytes = b""
    write: Write = field(init=False)

    def __post_init__(self) -> None:
        namespace = self.info.namespace if self.resource.namespaced else ""
        self.write = Write(
            self.user, self.resource, namespace, self.info.name, self.info.subresource
        )

    @property
    def query(self) -> MultiMapping[str]:
        """The query's parameters."""
        return self.request.query

    @property
    def form(self) -> str:
        """The form of the answer that is asked for; raises a 406."""
        return negotiation.form(self.request.headers.get("Accept", ""))

    async def read_write(self) -> None:
        """Read the body and what the query says about the write; raises a 400 or 422."""
        self.body = await self.request.read()
        query, verb, found = self.query, self.info.verb, Causes()
        dry_run = query.getall("dryRun", [])
        for value in dry_run:
            if value != "All":
                found.unsupported("dryRun", value, ("All",))
        manager = query.get("fieldManager", "")
        if len(manager.encode()) > _MAX_MANAGER:
            found.too_long("fieldManager", _MAX_MANAGER)
        elif not manager.isprintable():
            found.invalid("fieldManager", manager, "should only contain printable characters")
        validation = query.get("fieldValidation") or "Warn"
        if validation not in ("Strict", "Warn", "Ignore"):
            found.unsupported("fieldValidation", validation, ("", "Ignore", "Strict", "Warn"))
        if verb.startswith("delete"):
            verb, found = "delete", Causes(one for one in found if one["field"] == "dryRun")
        if found:
            known = ("update", "patch", "delete")
            options = f"{(verb if verb in known else 'create').capitalize()}Options"
            raise errors.invalid("meta.k8s.io", options, "", found)
        self.write.dry_run = bool(dry_run)
        self.write.field_validation = validation
        # Without a field manager, the program's name counts.
        agent = self.request.headers.get("User-Agent", "unknown")
        self.write.manager = manager or agent.split("/", 1)[0][:_MAX_MANAGER]
        if self.resource.deprecation:
            self.write.warnings.append(self.resource.deprecation)

    def content_type(self) -> str:
        """The body's media type."""
        return self.request.headers.get("Content-Type", "")

    def object(self, kind: str = "") -> Object:
        """Return the body as one object; duplicate fields are noted for the write."""
        obj, self.write.duplicates = codec.decode_object(
            self.body, self.content_type(), kind or self.resource.kind
        )
        return obj

    def answer(self, code: int, obj: Object | bytes) -> web.Response:
        """Return an object, or its JSON, as the answer in the form asked for."""
        if self.form in (negotiation.TABLE, negotiation.METADATA):
            obj = orjson.loads(obj) if isinstance(obj, bytes) else obj
            if obj.get("kind") != "Status":
                obj = negotiation.render_object(obj, self.form, self.resource, self.query)
        return self.answer_bytes(code, obj if isinstance(obj, bytes) else orjson.dumps(obj))

    def answer_bytes(self, code: int, body: bytes) -> web.Response:
        """Return JSON as the answer, or YAML where that is asked for, with the warnings there are."""
        media = codec.JSON
        if self.form == negotiation.YAML:
            media, body = codec.YAML, codec.dump_yaml(orjson.loads(body))
        response = web.Response(status=code, body=body, content_type=media)
        for warning in dict.fromkeys(self.write.warnings):
            escaped = warning.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
            response.headers.add("Warning", f'299 - "{escaped}"')
        return response


@dataclass(frozen=True, slots=True)
class Rest:
    """Dispatches requests to resources by verb."""

    context: ServerContext
    #: `collection`, `collection/subresource` or `*/subresource` → handler.
    subresources: Mapping[str, Handler]

    async def serve(
        self, request: web.BaseRequest, info: RequestInfo, user: User
    ) -> web.StreamResponse:
        """Answer an authorised resource request."""
        registry = self.context.api.registry
        resource = registry.find(info.group, info.version, info.plural)
        if resource is None:
            built_in = any(one.group == info.group and not one.custom for one in registry)
            served = built_in or registry.has_version(info.group, info.version)
            raise errors.no_such_path() if served else errors.NoSuchRoute
        if resource.namespaced and not info.namespace and info.verb not in ("list", "watch"):
            if info.verb == "create" and resource.verbs == ("create",):
                raise errors.bad_request("an empty namespace may not be set during creation")
            raise errors.no_such_path() if info.name else errors.method_not_allowed()
        if not resource.namespaced and info.namespace and info.plural != "namespaces":
            raise errors.no_such_path()
        if resource.verbs == ("create",) and info.name:
            raise errors.no_such_path()
        named = bool(info.name) if info.verb in ("create", "update", "patch") else None
        if request.method == "HEAD" or (not info.subresource and named is (info.verb == "create")):
            raise errors.method_not_allowed()
        call = Call(request, info, resource, user, self.context)
        handler = self._subresource(call) if info.subresource else self._handler(call)
        if info.verb not in _READS and info.subresource != "proxy":
            await call.read_write()
        return await handler(call)

    def _handler(self, call: Call) -> Handler:
        verb, resource = call.info.verb, call.resource
        if verb == "create" and resource.collection in self.subresources:
            return self.subresources[resource.collection]
        if verb not in resource.verbs:
            raise errors.method_not_allowed()
        if resource.unmodelled and verb in ("create", "update", "patch"):
            raise errors.not_implemented(resource.plural)
        if resource.deprecation and verb in _READS:
            call.write.warnings.append(resource.deprecation)
        return _VERBS[verb]

    def _subresource(self, call: Call) -> Handler:
        info, resource = call.info, call.resource
        if info.subresource not in resource.subresources:
            if resource.custom and info.subresource in ("status", "scale"):
                raise errors.not_found(resource.group, resource.plural, info.name)
            raise errors.no_such_path()
        for name in (resource.collection, "*"):
            handler = self.subresources.get(f"{name}/{info.subresource}")
            passed = info.subresource == "proxy" or info.verb in subresource_verbs(info.subresource)
            if handler and not passed:
                raise errors.method_not_allowed()
            if handler:
                return handler
        if info.subresource not in ("status", "finalize"):
            raise errors.not_implemented(f"{resource.plural}/{info.subresource}")
        if info.verb not in ("get", "update", "patch"):
            raise errors.method_not_allowed()
        return _VERBS[info.verb]


async def _get(call: Call) -> web.StreamResponse:
    api, version = call.server.api, listing.version(call.query)
    if version > api.store.revision:
        raise listing.too_large(version, api.store.revision)
    if requestinfo.flag(call.query.get("export")):
        why = "the export parameter, deprecated since v1.14, is no longer supported"
        raise errors.bad_request(why)
    stored = api.require(call.resource, call.write.namespace, call.info.name)
    return call.answer(200, conversion.raw(stored, call.resource))


async def _list(call: Call) -> web.StreamResponse:
    found = _page(call)
    raws = [conversion.raw(item, call.resource) for item in found.items]
    if call.form in (negotiation.TABLE, negotiation.METADATA):
        body = negotiation.render_list(raws, found, call.form, call.resource, call.query)
    else:
        body = listing.list_body(raws, found, call.resource)
    return call.answer_bytes(200, body)


def _page(call: Call) -> listing.Page:
    api, resource, query = call.server.api, call.resource, call.query
    chosen = listing.selection(query, resource, call.write.namespace)
    if call.info.verb == "list":
        listing.integer(query, "timeoutSeconds")
    return listing.page(api.collection(resource), chosen, query, api.store.revision)


async def _watch(call: Call) -> web.StreamResponse:
    resource, query = call.resource, call.query
    chosen = listing.selection(query, resource, call.write.namespace, call.info.name)
    listing.check_options(query, watch=True)
    for key in ("limit", "timeoutSeconds"):
        listing.integer(query, key)
    listing.version(query)
    special = call.form in (negotiation.TABLE, negotiation.METADATA)
    render = negotiation.watch_renderer(call.form, resource, query) if special else None
    watch = Watch(call.server.api.store, resource, chosen, query, render)
    return await watch.serve(call.request, call.write.warnings)


async def _create(call: Call) -> web.StreamResponse:
    return call.answer(201, await call.server.objects.create(call.object(), call.write))


async def _update(call: Call) -> web.StreamResponse:
    body, api, objects, name = call.object(), call.server.api, call.server.objects, call.info.name
    missing = api.collection(call.resource).get(call.write.namespace, name) is None
    upserts = api.strategy(call.resource).create_on_update and not call.info.subresource
    if missing and upserts:
        body.setdefault("metadata", {})["name"] = name
        return call.answer(201, await objects.create(body, call.write))
    return call.answer(200, await objects.update(lambda _live: body, call.write))


async def _patch(call: Call) -> web.StreamResponse:
    code, obj = await patching.patch(
        call.server.objects, call.body, call.content_type(), call.query, call.write
    )
    return call.answer(code, obj)


async def _delete(call: Call) -> web.StreamResponse:
    obj = await deletion.delete(call.server.objects, call.write, delete_options(call))
    return call.answer(200, obj)


async def _delete_collection(call: Call) -> web.StreamResponse:
    options, found = delete_options(call), _page(call)
    for stored in found.items:
        write = replace(call.write, namespace=stored.namespace, name=stored.name)
        try:
            await deletion.delete(call.server.objects, write, options)
        except errors.StatusError as error:
            if error.code != 404:
                raise
    raws = [conversion.raw(item, call.resource) for item in found.items]
    return call.answer_bytes(200, listing.list_body(raws, found, call.resource))


_READS = ("get", "list", "watch")
_VERBS: dict[str, Handler] = {
    "get": _get, "list": _list, "watch": _watch, "create": _create, "update": _update,
    "patch": _patch, "delete": _delete, "deletecollection": _delete_collection,
}  # fmt: skip


def delete_options(call: Call) -> Object:
    """Return `DeleteOptions` from the body or the query; raises a 400."""
    options: Object = {}
    if call.body.strip():
        options = call.object("DeleteOptions")
        kind = options.get("kind", "DeleteOptions")
        if kind not in ("DeleteOptions", call.resource.kind):
            raise errors.bad_request(errors.unregistered(kind, options.get("apiVersion")))
        schema = builtin_schemas.named(_DELETE_OPTIONS)
        try:
            options = decoding.Decoder(keep_empty=True).conform(options, schema)
        except decoding.DecodeError as error:
            raise errors.bad_request(str(error)) from error
    query = call.query
    if query.get("propagationPolicy"):
        options.setdefault("propagationPolicy", query["propagationPolicy"])
    if query.get("gracePeriodSeconds"):
        options.setdefault("gracePeriodSeconds", listing.integer(query, "gracePeriodSeconds"))
    if query.get("orphanDependents"):
        options.setdefault("orphanDependents", requestinfo.flag(query["orphanDependents"]))
    if options.get("dryRun"):
        call.write.dry_run = True
    return options
