"""PingSource: the controller's half, which starts the shared adapter (`mtping`) when needed."""

from __future__ import annotations

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Key, Object
from streamops_sandbox.knative.conditions import Conditions, find
from streamops_sandbox.knative.eventing import names
from streamops_sandbox.knative.reconciler import Reconciler
from streamops_sandbox.knative.resolver import Unresolved, resolve

ADAPTER = "pingsource-mt-adapter"
EVENT_TYPE = "dev.knative.sources.ping"


class PingSourceReconciler(Reconciler):
    """Reconciles PingSources."""

    api_version = names.SOURCES
    kind = "PingSource"
    dependents = ("Deployed", "OIDCIdentityCreated", "SinkProvided")

    def __init__(self, client: Client, system_namespace: str) -> None:
        super().__init__(client)
        self._system = system_namespace
        self._deployments = client.informer("apps/v1", "Deployment", system_namespace)
        self.watch(self._deployments, self._on_deployment)

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Resolve the sink, and have the adapter run."""
        metadata = obj["metadata"]
        conditions.true("OIDCIdentityCreated", "authentication-oidc feature disabled")
        key: Key = (metadata["namespace"], metadata["name"])
        try:
            sink = obj["spec"]["sink"]
            address = await resolve(self.tracker, sink, metadata["namespace"], key=key)
        except Unresolved as error:
            obj["status"].pop("sinkUri", None)
            conditions.false("SinkProvided", "NotFound", str(error))
            return
        obj["status"]["sinkUri"] = address.url
        conditions.true("SinkProvided")
        obj["status"]["ceAttributes"] = [{"type": EVENT_TYPE, "source": event_source(obj)}]
        adapter = self._deployments.get(ADAPTER, self._system)
        if adapter is None:
            message = f"Deployment {self._system}/{ADAPTER} does not exist"
            conditions.false("Deployed", "PingSourceDeploymentNotFound", message)
            return
        if not adapter["spec"].get("replicas"):
            adapter = await self.client.patch(
                "apps/v1", "Deployment", ADAPTER, self._system, {"spec": {"replicas": 1}}
            )
        message = f"The Deployment '{ADAPTER}' is unavailable."
        available = find(adapter, "Available")
        if (adapter.get("status") or {}).get("availableReplicas"):
            conditions.mirror("Deployed", available, absent=("DeploymentUnavailable", message))
        else:
            conditions.unknown("Deployed", "DeploymentUnavailable", message)

    def _on_deployment(self, deployment: Object) -> list[Key]:
        if deployment["metadata"]["name"] != ADAPTER:
            return []
        return [(o["metadata"]["namespace"], o["metadata"]["name"]) for o in self.objects.list()]


def event_source(obj: Object) -> str:
    """Return the `source` of a PingSource's events."""
    metadata = obj["metadata"]
    return f"/apis/v1/namespaces/{metadata['namespace']}/pingsources/{metadata['name']}"
