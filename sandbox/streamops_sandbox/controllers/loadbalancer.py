"""Services of type LoadBalancer: the node is the load balancer, at 127.0.0.1 and its node ports."""

from __future__ import annotations

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Controller
from streamops_sandbox.controllers.workloads import write_status

_ADDRESS = {"ip": "127.0.0.1", "ipMode": "Proxy"}


class LoadBalancerController(Controller):
    """Writes the address into the status."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._services = self.watch(client.informer("v1", "Service"))

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Reconcile a Service's load balancer."""
        service = self._services.get(name, namespace)
        if service is None or service["metadata"].get("deletionTimestamp"):
            return
        spec = service["spec"]
        ours = spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass")
        balancer = {"loadBalancer": {"ingress": [_ADDRESS]} if ours else {}}
        await write_status(self.client, service, service.get("status", {}) | balancer)
