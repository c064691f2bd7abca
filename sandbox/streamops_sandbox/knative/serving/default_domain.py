"""cmd/default-domain: sets a domain made of the gateway's address, where none is set yet."""

from __future__ import annotations

import asyncio

from streamops_sandbox.knative import configmaps
from streamops_sandbox.knative.process import Process
from streamops_sandbox.node.context import ContainerContext

_WAIT_SECONDS, _AGAIN_SECONDS = 600.0, 0.5
_GATEWAY, _GATEWAY_NAMESPACE = "kourier", "kourier-system"


async def main(ctx: ContainerContext) -> int:
    """Run the Job; `-magic-dns=sslip.io` names the service that resolves addresses in names."""
    magic = next((a.partition("=")[2] for a in ctx.args if "magic-dns" in a), "sslip.io")
    async with Process(ctx) as process, asyncio.timeout(_WAIT_SECONDS):
        await process.answer_probes()
        config = await process.follow("v1", "ConfigMap", process.namespace)
        services = await process.follow("v1", "Service", _GATEWAY_NAMESPACE)
        if configmaps.data(config, "config-domain"):
            ctx.log("config-domain has a domain already")
            return 0
        while True:
            status = (services.get(_GATEWAY, _GATEWAY_NAMESPACE) or {}).get("status") or {}
            if addresses := (status.get("loadBalancer") or {}).get("ingress"):
                break
            await asyncio.sleep(_AGAIN_SECONDS)
        domain = f"{addresses[0]['ip']}.{magic}"
        metadata = {"name": "config-domain", "namespace": process.namespace}
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        await process.client.patch(config_map, {"data": {domain: ""}})
        ctx.log(f"Updated default domain to: {domain}")
    return 0
