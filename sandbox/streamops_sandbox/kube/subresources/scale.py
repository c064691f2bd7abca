"""The scale subresource: replicas of anything that has them, as autoscaling/v1 `Scale`."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from streamops_sandbox.kube import codec, errors, patches
from streamops_sandbox.kube.builtin_schemas import definitions
from streamops_sandbox.kube.resources import Resource
from streamops_sandbox.kube.rest import Call

Json = dict[str, Any]
_BUILTIN = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
}


async def serve(call: Call) -> web.StreamResponse:
    """GET, PUT and PATCH of a Scale."""
    resource, info = call.resource, call.info
    stored = call.parts.api.require(resource, info.namespace, info.name)
    present = await call.parts.conversion.read(stored, resource)
    if info.verb == "get":
        return call.answer(200, _scale(present, resource))
    if info.verb not in ("update", "patch"):
        raise errors.method_not_allowed(info.verb)

    def transform(live: Json) -> Json:
        wanted = _wanted(call, _scale(live, resource))
        replicas = (wanted.get("spec") or {}).get("replicas", 0)
        _check(replicas, resource, info.name)
        version = (wanted.get("metadata") or {}).get("resourceVersion")
        if version:
            live["metadata"]["resourceVersion"] = version
        _set(live, _paths(resource)["specReplicasPath"], replicas)
        return live

    changed = await call.parts.objects.update(
        resource, info.namespace, info.name, transform, call.write, subresource="scale"
    )
    return call.answer(200, _scale(changed, resource))


def _wanted(call: Call, present: Json) -> Json:
    if call.info.verb == "update":
        return call.object()
    kind = codec.media_type(call.content_type())
    patch = codec.load_yaml(call.body)
    if kind == patches.JSON_PATCH:
        return patches.json_patch(present, patch)
    if kind == patches.STRATEGIC_PATCH:
        schema = definitions().of_kind(("autoscaling", "v1", "Scale"))
        return patches.strategic_patch(present, patch, schema)
    if kind == patches.MERGE_PATCH:
        merged: Json = patches.merge_patch(present, patch)
        return merged
    raise errors.not_implemented("server-side apply to the scale subresource")


def _check(replicas: object, resource: Resource, name: str) -> None:
    if isinstance(replicas, int) and replicas >= 0:
        return
    problem = errors.cause(
        "FieldValueInvalid",
        "spec.replicas",
        f"Invalid value: {replicas}: must be greater than or equal to 0",
    )
    raise errors.invalid("autoscaling", "Scale", name, [problem])


def _paths(resource: Resource) -> dict[str, str]:
    return resource.scale_paths or _BUILTIN


def _get(obj: Json, path: str) -> Any:
    value: Any = obj
    for key in path.strip(".").split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _set(obj: Json, path: str, value: Any) -> None:
    *parents, last = path.strip(".").split(".")
    for key in parents:
        obj = obj.setdefault(key, {})
    obj[last] = value


def _scale(obj: Json, resource: Resource) -> Json:
    paths = _paths(resource)
    metadata = obj["metadata"]
    status: Json = {"replicas": _get(obj, paths.get("statusReplicasPath", "")) or 0}
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
        "spec": {"replicas": _get(obj, paths["specReplicasPath"]) or 0},
        "status": status,
    }


def _selector(obj: Json, paths: dict[str, str]) -> str:
    if "labelSelectorPath" in paths:
        return _get(obj, paths["labelSelectorPath"]) or ""
    selector = (obj.get("spec") or {}).get("selector") or {}
    labels = selector.get("matchLabels", selector)
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()) if value is not None)
