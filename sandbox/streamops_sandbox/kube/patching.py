"""PATCH requests: the four kinds of patch, and the short cut for repeated applies."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from streamops_sandbox.kube import codec, decoding, errors, managed, patches, requestinfo
from streamops_sandbox.kube.api import Api, Write
from streamops_sandbox.kube.merge import TypedError
from streamops_sandbox.kube.objects import Objects
from streamops_sandbox.kube.resources import Resource
from streamops_sandbox.kube.schema import Schema

Json = dict[str, Any]

_SUPPORTED = (
    patches.JSON_PATCH, patches.MERGE_PATCH, patches.STRATEGIC_PATCH, codec.APPLY_YAML,
)  # fmt: skip


class Patching:
    """Patches objects of one server."""

    def __init__(self, api: Api, objects: Objects) -> None:
        self._api = api
        self._objects = objects

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: bytes,
        content_type: str,
        query: Mapping[str, str],
        write: Write,
        subresource: str,
    ) -> tuple[int, Json]:
        """Apply a patch; returns the HTTP code and the object."""
        kind = codec.media_type(content_type)
        if kind == codec.APPLY_YAML:
            config = self._configuration(body, resource, name)
            return await self._apply(resource, namespace, name, config, query, write, subresource)
        if query.get("force") is not None:
            raise _bad_option(
                "FieldValueForbidden",
                "force",
                "Forbidden: may not be specified for non-apply patch",
            )
        if kind not in _SUPPORTED:
            raise errors.unsupported_media_type(_SUPPORTED)
        patch = codec.loads(body)
        if kind == patches.STRATEGIC_PATCH and resource.custom:
            raise errors.unsupported_media_type(
                [item for item in _SUPPORTED if item != patches.STRATEGIC_PATCH]
            )
        if kind != patches.JSON_PATCH and not isinstance(patch, dict):
            raise errors.bad_request(
                "error decoding patch: json: cannot unmarshal array into Go value of type "
                "map[string]interface {}"
            )

        def transform(live: Json) -> Json:
            if kind == patches.JSON_PATCH:
                return patches.json_patch(live, patch)
            if kind == patches.MERGE_PATCH:
                merged: Json = patches.merge_patch(live, patch)
                return merged
            return patches.strategic_patch(live, patch, resource.schema)

        return 200, await self._objects.update(
            resource, namespace, name, transform, write, subresource=subresource
        )

    def _configuration(self, body: bytes, resource: Resource, name: str) -> Json:
        config = codec.load_yaml(body)
        if not isinstance(config, dict):
            raise errors.bad_request("error decoding YAML: the patch is no object")
        for field in ("apiVersion", "kind"):
            if not config.get(field):
                raise errors.bad_request(
                    f"invalid object type: {field} is missing in the applied configuration"
                )
        metadata = config.setdefault("metadata", {})
        if metadata.get("managedFields"):
            raise errors.bad_request("metadata.managedFields must be nil")
        metadata.setdefault("name", name)
        return config

    async def _apply(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        config: Json,
        query: Mapping[str, str],
        write: Write,
        subresource: str,
    ) -> tuple[int, Json]:
        if not query.get("fieldManager"):
            raise _bad_option(
                "FieldValueRequired",
                "fieldManager",
                "Required value: is required for apply patch",
            )
        config = conform_configuration(config, resource, namespace)
        force = requestinfo.flag(query.get("force"))
        manager = managed.Manager(write.manager, managed.APPLY, resource.api_version, subresource)

        def transform(live: Json) -> Json:
            try:
                return managed.apply(
                    live, config, manager, resource.schema,
                    force=force, has_status=resource.has_status,
                )  # fmt: skip
            except TypedError as error:
                raise _typed_error(config, resource, namespace, str(error)) from error

        if self._api.collection(resource).get(namespace, name) is None and not subresource:
            return 201, await self._create(resource, namespace, name, config, transform, write)
        result = await self._objects.update(
            resource, namespace, name, transform, write, subresource=subresource, applied=True
        )
        self._remember(resource, namespace, name, result, write)
        return 200, result

    async def _create(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        config: Json,
        transform: Any,
        write: Write,
    ) -> Json:
        uid = config["metadata"].get("uid")
        if uid:
            raise errors.conflict(
                resource.group,
                resource.plural,
                name,
                f"uid mismatch: the provided object specified uid {uid}, and no existing object "
                "was found",
            )
        blank: Json = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name},
        }
        if resource.namespaced:
            blank["metadata"]["namespace"] = namespace
        return await self._objects.create(
            resource, transform(blank), namespace, write, applied=True
        )

    def _remember(
        self, resource: Resource, namespace: str, name: str, result: Json, write: Write
    ) -> None:
        """Note that this request changed nothing: the same one will not change it either."""
        stored = self._api.collection(resource).get(namespace, name)
        if stored is None or write.fingerprint is None:
            return
        unchanged = write.revision_before == stored.revision and result["metadata"].get(
            "resourceVersion"
        ) == str(stored.revision)
        if unchanged and not write.dry_run:
            if stored.memo is None:
                stored.memo = set()
            stored.memo.add(write.fingerprint)


def fingerprint(
    body: bytes, query: Mapping[str, str], resource: Resource, subresource: str
) -> tuple[str, ...]:
    """What makes two apply requests the same request."""
    return (
        hashlib.blake2b(body, digest_size=16).hexdigest(),
        query.get("fieldManager", ""),
        query.get("fieldValidation", ""),
        resource.api_version,
        subresource,
    )


def conform_configuration(config: Json, resource: Resource, namespace: str) -> Json:
    """An applied configuration in its type's shape.

    Unlike other writes, an unknown field is always an error here: it could not be owned.
    """
    unknown: list[str] = []
    if resource.custom:
        _undeclared(config, resource.schema, "", unknown)
    else:
        decoder = decoding.Decoder(resource.kind, resource.api_version)
        config = decoder.conform(config, resource.schema)
        unknown = [f".{path}" for path in decoder.unknown]
    if unknown:
        problems = [f"{path}: field not declared in schema" for path in unknown]
        text = problems[0] if len(problems) == 1 else "errors:\n  " + "\n  ".join(problems)
        raise _typed_error(config, resource, namespace, text)
    return config


def _typed_error(config: Json, resource: Resource, namespace: str, text: str) -> errors.StatusError:
    name = config["metadata"].get("name", "")
    group_version = resource.api_version if resource.group else f"/{resource.version}"
    return errors.StatusError(
        500,
        "",
        f"failed to create typed patch object ({namespace}/{name}; {group_version}, "
        f"Kind={resource.kind}): {text}",
    )


def _undeclared(value: Any, node: Schema, path: str, unknown: list[str]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            child = node.child(key)
            if child is None:
                unknown.append(f"{path}.{key}")
            else:
                _undeclared(item, child, f"{path}.{key}", unknown)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _undeclared(item, node.element(), f"{path}[{index}]", unknown)


def _bad_option(reason: str, field: str, message: str) -> errors.StatusError:
    return errors.invalid("meta.k8s.io", "PatchOptions", "", [errors.cause(reason, field, message)])
