"""The scale subresource: replicas of anything that has them, as autoscaling/v1 `Scale`."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from streamops_sandbox.kube import (
    builtin_schemas,
    codec,
    conversion,
    errors,
    managed,
    patches,
    patching,
)
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.objects import check_name
from streamops_sandbox.kube.requestinfo import flag
from streamops_sandbox.kube.resources import Resource
from streamops_sandbox.kube.rest import Call
from streamops_sandbox.objects import Object, at

_BUILTIN = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}


async def serve(call: Call) -> web.StreamResponse:
    """GET, PUT and PATCH of a Scale."""
    resource, info = call.resource, call.info
    stored = call.server.api.require(resource, info.namespace, info.name)
    present = conversion.read(stored, resource)
    if info.verb == "get":
        return call.answer(200, _scale(present, resource))
    applied = info.verb == "patch" and codec.media_type(call.content_type()) == codec.APPLY_YAML
    if applied:
        patching.require_manager(call.query)

    def transform(live: Object) -> Object:
        if applied:
            return _applied(call, live)
        wanted = _wanted(call, _scale(live, resource))
        replicas = (wanted.get("spec") or {}).get("replicas", 0)
        _check(replicas, resource, info.name)
        version = (wanted.get("metadata") or {}).get("resourceVersion")
        if version:
            live["metadata"]["resourceVersion"] = version
        _set(live, _paths(resource)["specReplicasPath"], replicas)
        return live

    call.write.patched = True
    call.write.applied = applied
    changed = await call.server.objects.update(transform, call.write)
    return call.answer(200, _scale(changed, resource))


def _wanted(call: Call, present: Object) -> Object:
    if call.info.verb == "update":
        wanted, name = call.object("Scale"), call.info.name
        kind = wanted.get("kind", "Scale")
        if kind != "Scale":
            why = f"converting (v1.{kind}) to (autoscaling.Scale): unknown conversion"
            raise errors.bad_request(f'{kind} in version "v1" cannot be handled as a Scale: {why}')
        check_name({"name": name, **(wanted.get("metadata") or {})}, name)
        return wanted
    kind = codec.media_type(call.content_type())
    schema = builtin_schemas.of_kind(("autoscaling", "v1", "Scale"))
    return patching.parse_patch(kind, call.body, schema)(present)


def _applied(call: Call, live: Object) -> Object:
    """Apply a Scale: the number of replicas is all that it can own of the object."""
    resource = call.resource
    replicas = (patching.parse_configuration(call.body).get("spec") or {}).get("replicas", 0)
    _check(replicas, resource, call.info.name)
    config: Object = {"metadata": {}}
    _set(config, _paths(resource)["specReplicasPath"], replicas)
    if not (live.get("spec") or {}).get("replicas"):
        # No replicas are a missing field of a Scale, so that stating them is a change.
        live = patches.merge_patch(live, {"spec": {"replicas": None}})
    return managed.apply(live, config, call.write, force=flag(call.query.get("force")))


def _check(replicas: object, resource: Resource, name: str) -> None:
    if isinstance(replicas, int) and replicas >= 0:
        return
    found = Causes()
    if resource.custom:
        field = _paths(resource)["specReplicasPath"]
        found.invalid(field, replicas, "should be a non-negative integer")
        raise errors.invalid(resource.group, resource.kind, name, found)
    found.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
    raise errors.invalid("autoscaling", "Scale", name, found)


def _paths(resource: Resource) -> dict[str, str]:
    return resource.scale_paths or _BUILTIN


def _set(obj: Object, path: str, value: Any) -> None:
    *parents, last = path.strip(".").split(".")
    for key in parents:
        obj = obj.setdefault(key, {})
    obj[last] = value


def _scale(obj: Object, resource: Resource) -> Object:
    paths = _paths(resource)
    metadata, replicas = obj["metadata"], at(obj, paths["specReplicasPath"][1:]) or 0
    status: Object = {"replicas": at(obj, paths.get("statusReplicasPath", "")[1:]) or 0}
    selector = _selector(obj, paths)
    if selector:
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            key: metadata[key]
            for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
            if key in metadata
        },
        "spec": {"replicas": replicas} if replicas or resource.custom else {},
        "status": status,
    }


def _selector(obj: Object, paths: dict[str, str]) -> str:
    if "labelSelectorPath" in paths:
        return at(obj, paths["labelSelectorPath"][1:]) or ""
    selector = (obj.get("spec") or {}).get("selector") or {}
    labels = selector.get("matchLabels", selector)
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()) if value is not None)
