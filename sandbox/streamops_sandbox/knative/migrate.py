"""cmd/migrate of knative.dev/pkg: rewrites stored objects in the version that is stored now."""

from __future__ import annotations

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.knative.process import Process
from streamops_sandbox.node.context import ContainerContext

_CRD = "apiextensions.k8s.io/v1"


async def main(ctx: ContainerContext) -> int:
    """Migrate the custom kinds named (`plural.group`) in the arguments."""
    async with Process(ctx) as process:
        for name in ctx.args:
            if "." in name and not name.startswith("-"):
                await _migrate(process.client, name, ctx)
    return 0


async def _migrate(client: Client, name: str, ctx: ContainerContext) -> None:
    try:
        definition = await client.get(_CRD, "CustomResourceDefinition", name)
    except ApiError as error:
        if error.not_found:
            ctx.log(f"{name}: no such custom kind")
            return
        raise
    stored = next(v["name"] for v in definition["spec"]["versions"] if v["storage"])
    group, kind = definition["spec"]["group"], definition["spec"]["names"]["kind"]
    objects = await client.list(f"{group}/{stored}", kind)
    for obj in objects:  # an empty patch writes an object back as it is
        try:
            await client.patch(obj, {})
        except ApiError as error:
            if not error.not_found:
                raise
    ctx.log(f"{name}: {len(objects)} objects are stored as {stored}")
    versions = (definition.get("status") or {}).get("storedVersions")
    if versions != [stored]:
        change = {"status": {"storedVersions": [stored]}}
        await client.patch(definition, change, subresource="status")
