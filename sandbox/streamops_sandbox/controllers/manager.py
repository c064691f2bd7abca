"""All controllers of the core kinds together: kube-controller-manager's place."""

from __future__ import annotations

import asyncio

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Controller
from streamops_sandbox.controllers.cronjob import CronJobController
from streamops_sandbox.controllers.daemonset import DaemonSetController
from streamops_sandbox.controllers.deployment import DeploymentController
from streamops_sandbox.controllers.disruption import DisruptionController
from streamops_sandbox.controllers.endpoints import EndpointsController
from streamops_sandbox.controllers.garbage import GarbageCollector
from streamops_sandbox.controllers.job import JobController
from streamops_sandbox.controllers.loadbalancer import LoadBalancerController
from streamops_sandbox.controllers.namespaces import NamespaceContentController, NamespaceController
from streamops_sandbox.controllers.replicaset import ReplicaSetController
from streamops_sandbox.controllers.statefulset import StatefulSetController


async def run(client: Client, ca_pem: str) -> None:
    """Run the controllers until cancelled; `ca_pem` is the certificate pods trust the API by."""
    controllers: list[Controller] = [
        NamespaceContentController(client, ca_pem),
        NamespaceController(client),
        GarbageCollector(client),
        DeploymentController(client),
        ReplicaSetController(client),
        StatefulSetController(client),
        DaemonSetController(client),
        JobController(client),
        CronJobController(client),
        EndpointsController(client),
        LoadBalancerController(client),
        DisruptionController(client),
    ]
    async with asyncio.TaskGroup() as group:
        for controller in controllers:
            group.create_task(controller.run(), name=controller.name)
