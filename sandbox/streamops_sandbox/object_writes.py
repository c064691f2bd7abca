"""Writes of controllers to objects they have read."""

from __future__ import annotations

from typing import Literal

from streamops_sandbox.client import ApiError, Client, PatchType
from streamops_sandbox.objects import Object


async def patch(
    client: Client,
    obj: Object,
    change: object,
    *,
    patch_type: PatchType = "merge",
    subresource: str | None = None,
) -> Object:
    """Change parts of an object; return what is stored."""
    metadata = obj["metadata"]
    place = (obj["apiVersion"], obj["kind"], metadata["name"], metadata.get("namespace"))
    return await client.patch(*place, change, patch_type=patch_type, subresource=subresource)


async def delete(
    client: Client,
    obj: Object,
    propagation: Literal["Background", "Foreground", "Orphan"] | None = None,
) -> None:
    """Delete an object; one that is gone, or another of its name by now, counts as deleted."""
    metadata = obj["metadata"]
    place = (obj["apiVersion"], obj["kind"], metadata["name"], metadata.get("namespace"))
    try:
        await client.delete(*place, propagation=propagation, uid=metadata["uid"])
    except ApiError as error:
        if error.status not in (404, 409):
            raise
