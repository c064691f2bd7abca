"""Custom objects in another version than they are stored in.

Strategy None changes the apiVersion only; strategy Webhook asks the definition's webhook.
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import orjson

from sandbox.kube import errors, listing
from sandbox.kube.callout import Callout, CalloutError
from sandbox.kube.resources import Resource
from sandbox.kube.store import Stored

Json = dict[str, Any]
_TIMEOUT = 30.0


class Conversion:
    """Converts on reads and on writes."""

    def __init__(self, callout: Callout) -> None:
        self._callout = callout

    @staticmethod
    def by_webhook(resource: Resource) -> bool:
        """Whether objects of this type and version have to be converted by a webhook."""
        return (
            resource.api_version != resource.storage_version
            and (resource.conversion or {}).get("strategy") == "Webhook"
        )

    async def raw(self, stored: Stored, resource: Resource) -> bytes:
        """An object's JSON in the version asked for."""
        return (await self.raws([stored], resource))[0]

    async def raws(self, items: Sequence[Stored], resource: Resource) -> list[bytes]:
        """Objects' JSON in the version asked for."""
        if not self.by_webhook(resource) or not items:
            return [listing.raw(item, resource) for item in items]
        converted = await self.convert(
            [item.load() for item in items], resource, resource.api_version
        )
        return [orjson.dumps(obj) for obj in converted]

    async def convert(self, objects: list[Json], resource: Resource, version: str) -> list[Json]:
        """Objects in another version; raises a 500 when the webhook fails."""
        if all(obj["apiVersion"] == version for obj in objects):
            return objects
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
            answer = await self._callout.post(webhook["clientConfig"], review, timeout=_TIMEOUT)
        except CalloutError as error:
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
        return converted
