"""Node ports and cluster IPs: what kube-proxy does, as listeners of this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from streamops_sandbox.informer import Informer
from streamops_sandbox.node import tcp
from streamops_sandbox.node.routing import Router
from streamops_sandbox.objects import Object

logger = logging.getLogger(__name__)

Listener = tuple[str, int]


class ServiceProxy:
    """Listens on 127.0.0.1:NODEPORT and CLUSTERIP:PORT and carries connections to endpoints.

    `is_service` tells the cluster IPs that are of this node's network from others.
    """

    def __init__(
        self, services: Informer, router: Router, is_service: Callable[[str], bool]
    ) -> None:
        self._services = services
        self._is_service = is_service
        self._router = router
        self._servers: dict[Listener, asyncio.Server] = {}
        self._refused: set[Listener] = set()
        self._dirty = asyncio.Event()

    async def run(self) -> None:
        """Follow the Services until cancelled."""
        self._services.subscribe(lambda *_: self._dirty.set())
        self._dirty.set()
        try:
            while True:
                await self._dirty.wait()
                self._dirty.clear()
                await self._update()
        finally:
            for server in self._servers.values():
                server.close()

    async def _update(self) -> None:
        wanted: dict[Listener, tuple[str, str, int]] = {}
        for service in self._services.list():
            wanted |= self._listeners(service)
        for listener in set(self._servers) - set(wanted):
            self._servers.pop(listener).close()
        self._refused &= set(wanted)
        for listener in set(wanted) - set(self._servers) - self._refused:
            await self._listen(listener, *wanted[listener])

    async def _listen(self, listener: Listener, name: str, namespace: str, port: int) -> None:
        def resolve() -> tuple[str, int] | None:
            return self._router(f"{name}.{namespace}.svc", port)

        try:
            self._servers[listener] = await tcp.listen(*listener, resolve)
        except OSError as error:
            self._refused.add(listener)
            # Ports below 1024 need a privilege; the Service's name works through the proxy.
            level = logging.DEBUG if isinstance(error, PermissionError) else logging.WARNING
            logger.log(level, "Service %s/%s, %s:%s: %s", namespace, name, *listener, error)

    def _listeners(self, service: Object) -> dict[Listener, tuple[str, str, int]]:
        spec, metadata = service["spec"], service["metadata"]
        found: dict[Listener, tuple[str, str, int]] = {}
        for port in spec.get("ports") or []:
            if port.get("protocol", "TCP") != "TCP":
                continue
            target = (metadata["name"], metadata["namespace"], port["port"])
            if port.get("nodePort"):
                found["127.0.0.1", port["nodePort"]] = target
            address = spec.get("clusterIP") or "None"
            if self._is_service(address):
                found[address, port["port"]] = target
        return found
