"""Custom objects in another version than they are stored in.

Strategy None changes the apiVersion only; strategy Webhook asks the definition's webhook.
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import orjson

from streamops_sandbox.kube import custom_objects, errors
from streamops_sandbox.kube.resources import Resource
from streamops_sandbox.kube.store import Stored
from streamops_sandbox.kube.webhook_client import WebhookClient, WebhookError

Json = dict[str, Any]
_TIMEOUT = 30.0


def needs_webhook(stored: Stored, resource: Resource) -> bool:
    """Whether only the definition's webhook can tell how the object looks in this version."""
    return (
        stored.api_version != resource.api_version
        and (resource.conversion or {}).get("strategy") == "Webhook"
    )


def plain(stored: Stored, resource: Resource) -> bytes:
    """An object's JSON in the version asked for, where no webhook is needed."""
    if stored.api_version == resource.api_version:
        return stored.raw
    return orjson.dumps(_shown(stored.load(), resource))


def _shown(obj: Json, resource: Resource) -> Json:
    convert = resource.from_storage
    shown = convert(obj) if convert else {**obj, "apiVersion": resource.api_version}
    return {"apiVersion": shown["apiVersion"], "kind": shown["kind"], **shown}


class Conversion:
    """Converts on reads and on writes."""

    def __init__(self, client: WebhookClient) -> None:
        self._client = client

    async def read(self, stored: Stored, resource: Resource) -> Json:
        """A fresh copy of an object in the version asked for."""
        if stored.api_version == resource.api_version:
            return stored.load()
        if resource.from_storage is not None:
            return _shown(stored.load(), resource)
        return (await self._convert([stored.load()], resource, resource.api_version))[0]

    async def raws(self, items: Sequence[Stored], resource: Resource) -> list[bytes]:
        """Objects' JSON in the version asked for; one question to a webhook for all."""
        asked = [item for item in items if needs_webhook(item, resource)]
        if not asked:
            return [plain(item, resource) for item in items]
        converted = await self._convert(
            [item.load() for item in asked], resource, resource.api_version
        )
        answers = {id(item): orjson.dumps(obj) for item, obj in zip(asked, converted, strict=True)}
        return [answers.get(id(item)) or plain(item, resource) for item in items]

    async def to_storage(self, obj: Json, resource: Resource) -> Json:
        """An object in the version it is kept in."""
        if obj["apiVersion"] == resource.storage_version:
            return obj
        if resource.to_storage is not None:
            return resource.to_storage(obj)
        kept = (await self._convert([obj], resource, resource.storage_version))[0]
        if resource.storage_schema is not None:
            schema = resource.storage_schema()
            kept = custom_objects.prune(kept, schema, "", [])
            custom_objects.default(kept, schema)
        return kept

    async def _convert(self, objects: list[Json], resource: Resource, version: str) -> list[Json]:
        """Objects in another version; raises a 500 when the webhook fails."""
        if (resource.conversion or {}).get("strategy") != "Webhook":
            return [{**obj, "apiVersion": version} for obj in objects]
        webhook = (resource.conversion or {})["webhook"]
        review = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "ConversionReview",
            "request": {
                "uid": str(uuid.uuid4()),
                "desiredAPIVersion": version,
                "objects": objects,
            },
        }
        prefix = f"conversion webhook for {objects[0]['apiVersion']}, Kind={resource.kind} failed: "
        try:
            answer = await self._client.post(webhook["clientConfig"], review, timeout=_TIMEOUT)
        except WebhookError as error:
            raise errors.StatusError(500, "", prefix + str(error)) from error
        response = answer.get("response") or {}
        result = response.get("result") or {}
        if result.get("status") != "Success":
            raise errors.StatusError(500, "", prefix + str(result.get("message", "")))
        converted: list[Json] = response.get("convertedObjects") or []
        if len(converted) != len(objects):
            raise errors.StatusError(
                500,
                "",
                f"{prefix}expected {len(objects)} converted objects, got {len(converted)}",
            )
        return [_keep_metadata(new, old) for new, old in zip(converted, objects, strict=True)]


def _keep_metadata(converted: Json, original: Json) -> Json:
    """A webhook may change labels and annotations; the rest of the metadata is the server's."""
    metadata = dict(original["metadata"])
    for key in ("labels", "annotations"):
        metadata.pop(key, None)
        value = (converted.get("metadata") or {}).get(key)
        if value:
            metadata[key] = value
    return {**converted, "metadata": metadata}
