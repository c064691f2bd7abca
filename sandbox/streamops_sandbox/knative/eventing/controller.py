"""cmd/controller of Eventing: ContainerSources, and a word on what is not modelled.

A ContainerSource is a Deployment of the user's container, bound to the sink by a SinkBinding.
"""

from __future__ import annotations

import copy

from streamops_sandbox.client import Client
from streamops_sandbox.knative.conditions import Conditions, find
from streamops_sandbox.knative.eventing import names
from streamops_sandbox.knative.process import Process
from streamops_sandbox.knative.reconciler import Reconciler, ensure, owned
from streamops_sandbox.knative.unmodelled import unmodelled
from streamops_sandbox.node.context import ContainerContext
from streamops_sandbox.objects import Object

_LABEL = "sources.knative.dev/containerSource"


async def main(ctx: ContainerContext, *kinds: str) -> int:
    """Run the eventing-controller."""
    async with Process(ctx) as process:
        sources = ContainerSourceReconciler(process.client)
        await process.answer_probes()
        return await process.run(sources.run(), *unmodelled(process.client, kinds))


class ContainerSourceReconciler(Reconciler):
    """Reconciles ContainerSources."""

    api_version = names.SOURCES
    kind = "ContainerSource"
    dependents = ("ReceiveAdapterReady", "SinkBindingReady")

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._deployments = self.watch_owned(client.informer("apps/v1", "Deployment"), self.kind)
        self._bindings = self.watch_owned(client.informer(names.SOURCES, "SinkBinding"), self.kind)

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Keep the SinkBinding, then the Deployment."""
        namespace = obj["metadata"]["namespace"]
        binding = _binding(obj)
        known = self._bindings.get(binding["metadata"]["name"], namespace)
        bound = await ensure(self.client, known, binding)
        state = bound.get("status") or {}
        for field in ("sinkUri", "sinkCACerts", "sinkAudience"):
            if state.get(field):
                obj["status"][field] = state[field]
        conditions.mirror("SinkBindingReady", find(bound), absent=("NotReconciled", ""))
        deployment = _deployment(obj)
        name = deployment["metadata"]["name"]
        found = await ensure(self.client, self._deployments.get(name, namespace), deployment)
        absent = ("DeploymentUnavailable", f"The Deployment {name!r} is unavailable.")
        conditions.mirror("ReceiveAdapterReady", find(found, "Available"), absent=absent)


def _binding(obj: Object) -> Object:
    metadata = obj["metadata"]
    spec: Object = {
        "subject": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": _deployment_name(obj),
            "namespace": metadata["namespace"],
        },
        "sink": obj["spec"]["sink"],
    }
    if obj["spec"].get("ceOverrides"):
        spec["ceOverrides"] = obj["spec"]["ceOverrides"]
    return owned(obj, names.SOURCES, "SinkBinding", f"{metadata['name']}-sinkbinding", spec)


def _deployment_name(obj: Object) -> str:
    return f"{obj['metadata']['name']}-deployment"


def _deployment(obj: Object) -> Object:
    metadata = obj["metadata"]
    template = copy.deepcopy(obj["spec"]["template"])
    labels = {"sources.knative.dev/source": "container-source-controller", _LABEL: metadata["name"]}
    own = template.setdefault("metadata", {})
    own["labels"] = {**(own.get("labels") or {}), **labels}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return owned(obj, "apps/v1", "Deployment", _deployment_name(obj), spec, labels=labels)
