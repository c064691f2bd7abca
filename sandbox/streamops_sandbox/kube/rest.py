"""The HTTP side: from a request to the part that answers it, and back."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
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
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.objects import Objects
from streamops_sandbox.kube.requestinfo import RequestInfo
from streamops_sandbox.kube.resources import Resource
from streamops_sandbox.kube.tokens import TokenSigner
from streamops_sandbox.kube.watching import Watch
from streamops_sandbox.objects import Object

#: Answers requests to a subresource.
Subresource = Callable[["Call"], Awaitable[web.StreamResponse]]

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
        self.write.manager = manager or self._agent()
        if self.resource.deprecation:
            self.write.warnings.append(self.resource.deprecation)

    def _agent(self) -> str:
        """Return the program's name from User-Agent, which counts without a field manager."""
        agent = self.request.headers.get("User-Agent", "unknown")
        return agent.split("/", 1)[0][:_MAX_MANAGER]

    def content_type(self) -> str:
        """The body's media type."""
        return self.request.headers.get("Content-Type", "")

    def object(self, kind: str = "") -> Object:
        """Return the body as one object; duplicate fields are noted for the write."""
        expected = kind or self.resource.kind
        obj, found = codec.decode_object(self.body, self.content_type(), expected)
        self.write.duplicates = found
        return obj

    def answer(self, code: int, obj: Object | bytes) -> web.Response:
        """Return an object, or its JSON, as the answer in the form asked for."""
        form = negotiation.form(self.request.headers.get("Accept", ""))
        if form in (negotiation.TABLE, negotiation.METADATA):
            obj = orjson.loads(obj) if isinstance(obj, bytes) else obj
            if obj.get("kind") != "Status":
                obj = negotiation.render_object(obj, form, self.resource, self.query)
        return self.answer_bytes(code, obj if isinstance(obj, bytes) else orjson.dumps(obj))

    def answer_bytes(self, code: int, body: bytes) -> web.Response:
        """Return JSON as the answer, or YAML where that is asked for, with the warnings there are."""
        media = codec.JSON
        if negotiation.form(self.request.headers.get("Accept", "")) == negotiation.YAML:
            media, body = codec.YAML, codec.dump_yaml(orjson.loads(body))
        response = web.Response(status=code, body=body, content_type=media)
        for warning in dict.fromkeys(self.write.warnings):
            escaped = warning.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
            response.headers.add("Warning", f'299 - "{escaped}"')
        return response


class Rest:
    """Dispatches requests to resources by verb."""

    def __init__(self, context: ServerContext, subresources: dict[str, Subresource]) -> None:
        self._context = context
        self._subresources = subresources
        self._verbs: dict[str, Callable[[Call], Awaitable[web.StreamResponse]]] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }

    async def serve(
        self, request: web.BaseRequest, info: RequestInfo, user: User
    ) -> web.StreamResponse:
        """Answer an authorised resource request."""
        resource = self._context.api.registry.find(info.group, info.version, info.plural)
        if resource is None:
            registry = self._context.api.registry
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
        call = Call(request, info, resource, user, self._context)
        if info.subresource:
            return await self._subresource(call)
        special = self._subresources.get(resource.collection)
        if special is not None and info.verb == "create":
            await call.read_write()
            return await special(call)
        if info.verb not in resource.verbs or info.verb not in self._verbs:
            raise errors.method_not_allowed()
        if resource.unmodelled and info.verb in ("create", "update", "patch"):
            raise errors.not_implemented(resource.plural)
        if resource.deprecation and info.verb in ("get", "list", "watch"):
            call.write.warnings.append(resource.deprecation)
        return await self._verbs[info.verb](call)

    async def _subresource(self, call: Call) -> web.StreamResponse:
        info, resource = call.info, call.resource
        if info.subresource not in resource.subresources:
            if resource.custom and info.subresource in ("status", "scale"):
                raise errors.not_found(resource.group, resource.plural, info.name)
            raise errors.no_such_path()
        handler = self._subresources.get(f"{resource.collection}/{info.subresource}")
        handler = handler or self._subresources.get(f"*/{info.subresource}")
        if handler is not None:
            if info.verb != "get" and info.subresource != "proxy":
                await call.read_write()
            return await handler(call)
        if info.subresource in ("status", "finalize"):
            if info.verb not in ("get", "update", "patch"):
                raise errors.method_not_allowed()
            return await self._verbs[info.verb](call)
        raise errors.not_implemented(f"{resource.plural}/{info.subresource}")

    async def _get(self, call: Call) -> web.StreamResponse:
        version = call.query.get("resourceVersion") or "0"
        if not version.isdigit():
            raise errors.StatusError(500, "", listing.bad_version(version))
        if int(version) > self._context.api.store.revision:
            raise listing.too_large(int(version), self._context.api.store.revision)
        if requestinfo.flag(call.query.get("export")):
            why = "the export parameter, deprecated since v1.14, is no longer supported"
            raise errors.bad_request(why)
        stored = self._context.api.require(call.resource, call.write.namespace, call.info.name)
        return call.answer(200, conversion.raw(stored, call.resource))

    async def _list(self, call: Call) -> web.StreamResponse:
        api, resource = self._context.api, call.resource
        chosen = listing.selection(call.query, resource, call.write.namespace)
        listing.integer(call.query, "timeoutSeconds")
        found = listing.page(api.collection(resource), chosen, call.query, api.store.revision)
        form = negotiation.form(call.request.headers.get("Accept", ""))
        raws = [conversion.raw(item, resource) for item in found.items]
        if form in (negotiation.TABLE, negotiation.METADATA):
            body = negotiation.render_list(raws, found, form, resource, call.query)
        else:
            body = listing.list_body(raws, found, resource)
        return call.answer_bytes(200, body)

    async def _watch(self, call: Call) -> web.StreamResponse:
        resource = call.resource
        chosen = listing.selection(call.query, resource, call.write.namespace, call.info.name)
        listing.check_options(call.query, watch=True)
        for key in ("limit", "timeoutSeconds"):
            listing.integer(call.query, key)
        version = call.query.get("resourceVersion") or "0"
        if not version.isdigit():
            raise errors.StatusError(500, "", listing.bad_version(version))
        form = negotiation.form(call.request.headers.get("Accept", ""))
        special = form in (negotiation.TABLE, negotiation.METADATA)
        render = negotiation.watch_renderer(form, resource, call.query) if special else None
        watch = Watch(self._context.api.store, resource, chosen, call.query, render)
        return await watch.serve(call.request, call.write.warnings)

    async def _create(self, call: Call) -> web.StreamResponse:
        await call.read_write()
        obj = await self._context.objects.create(call.object(), call.write)
        return call.answer(201, obj)

    async def _update(self, call: Call) -> web.StreamResponse:
        await call.read_write()
        body = call.object()
        namespace, name = call.write.namespace, call.info.name
        strategy = self._context.api.strategy(call.resource)
        missing = self._context.api.collection(call.resource).get(namespace, name) is None
        if strategy.create_on_update and missing and not call.info.subresource:
            body.setdefault("metadata", {})["name"] = name
            return call.answer(201, await self._context.objects.create(body, call.write))
        obj = await self._context.objects.update(lambda _live: body, call.write)
        return call.answer(200, obj)

    async def _patch(self, call: Call) -> web.StreamResponse:
        await call.read_write()
        code, obj = await patching.patch(
            self._context.objects, call.body, call.content_type(), call.query, call.write
        )
        return call.answer(code, obj)

    async def _delete(self, call: Call) -> web.StreamResponse:
        await call.read_write()
        obj = await deletion.delete(self._context.objects, call.write, delete_options(call))
        return call.answer(200, obj)

    async def _delete_collection(self, call: Call) -> web.StreamResponse:
        await call.read_write()
        api, resource = self._context.api, call.resource
        options = delete_options(call)
        chosen = listing.selection(call.query, resource, call.write.namespace)
        found = listing.page(api.collection(resource), chosen, call.query, api.store.revision)
        for stored in found.items:
            write = replace(call.write, namespace=stored.namespace, name=stored.name)
            try:
                await deletion.delete(self._context.objects, write, options)
            except errors.StatusError as error:
                if error.code != 404:
                    raise
        raws = [conversion.raw(item, resource) for item in found.items]
        return call.answer_bytes(200, listing.list_body(raws, found, resource))


def delete_options(call: Call) -> Object:
    """Return `DeleteOptions` from the body or the query; raises a 400."""
    options: Object = {}
    if call.body.strip():
        options = call.object("DeleteOptions")
        kind = options.get("kind", "DeleteOptions")
        if kind not in ("DeleteOptions", call.resource.kind):
            raise errors.bad_request(errors.unregistered(kind, options.get("apiVersion")))
        schema = builtin_schemas.definitions().named(_DELETE_OPTIONS)
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
