"""cmd/default-domain: sets a domain made of the gateway's address, where none is set yet."""

from __future__ import annotations

import asyncio

from streamops_sandbox.knative import configmaps
from streamops_sandbox.knative.process import Process
from streamops_sandbox.node.context import ContainerContext
from streamops_sandbox.objects import Object

_WAIT_SECONDS = 600.0
_GATEWAY, _GATEWAY_NAMESPACE = "kourier", "kourier-system"


async def main(ctx: ContainerContext) -> int:
    """Run the Job; `-magic-dns=sslip.io` names the service that resolves addresses in names."""
    magic = next((a.partition("=")[2] for a in ctx.args if "magic-dns" in a), "sslip.io")
    async with Process(ctx) as process:
        await process.answer_probes()
        config = await process.follow("v1", "ConfigMap", process.namespace)
        services = await process.follow("v1", "Service", _GATEWAY_NAMESPACE)
        if configmaps.data(config, "config-domain"):
            ctx.log("config-domain has a domain already")
            return 0
        found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def on_event(_: str, service: Object) -> None:
            address = _address(service)
            if address and not found.done():
                found.set_result(address)

        services.subscribe(on_event)
        async with asyncio.timeout(_WAIT_SECONDS):
            domain = f"{await found}.{magic}"
        metadata = {"name": "config-domain", "namespace": process.namespace}
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        await process.client.patch(config_map, {"data": {domain: ""}})
        ctx.log(f"Updated default domain to: {domain}")
    return 0


def _address(service: Object) -> str:
    if service["metadata"]["name"] != _GATEWAY:
        return ""
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or [{}]
    return str(ingress[0].get("ip", ""))
