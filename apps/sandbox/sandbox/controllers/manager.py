"""All controllers of the core kinds together: kube-controller-manager's place."""

from __future__ import annotations

import asyncio

from sandbox.client import Client
from sandbox.controller import Controller
from sandbox.controllers.deployment import DeploymentController
from sandbox.controllers.endpoints import EndpointsController
from sandbox.controllers.garbage import GarbageCollector
from sandbox.controllers.loadbalancer import LoadBalancerController
from sandbox.controllers.namespaces import NamespaceContentController, NamespaceController
from sandbox.controllers.replicaset import ReplicaSetController
from sandbox.events import EventRecorder


async def run(client: Client, ca_pem: str) -> None:
    """Run the controllers until cancelled; `ca_pem` is the certificate pods trust the API by."""
    events = [
        EventRecorder(client, name) for name in ("deployment-controller", "replicaset-controller")
    ]
    controllers: list[Controller] = [
        NamespaceContentController(client, ca_pem),
        NamespaceController(client),
        GarbageCollector(client),
        DeploymentController(client, events[0]),
        ReplicaSetController(client, events[1]),
        EndpointsController(client),
        LoadBalancerController(client),
    ]
    async with asyncio.TaskGroup() as group:
        for recorder in events:
            group.create_task(recorder.run())
        for controller in controllers:
            group.create_task(controller.run(), name=controller.name)
