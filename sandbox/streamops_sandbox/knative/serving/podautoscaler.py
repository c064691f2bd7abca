"""cmd/autoscaler: keeps each reachable revision at its lower bound, at least one pod."""

from __future__ import annotations

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Object, owner_reference
from streamops_sandbox.informer import Informer
from streamops_sandbox.knative import configmaps
from streamops_sandbox.knative.conditions import Conditions, find, is_true
from streamops_sandbox.knative.process import Process
from streamops_sandbox.knative.reconciler import Reconciler, ensure
from streamops_sandbox.knative.serving import names
from streamops_sandbox.knative.serving.annotations import scale_bound
from streamops_sandbox.knative.serving.serverlessservice import ready_endpoints
from streamops_sandbox.node.context import ContainerContext

_KPA = "kpa.autoscaling.knative.dev"


async def main(ctx: ContainerContext) -> int:
    """Run the autoscaler."""
    async with Process(ctx) as process:
        config = process.client.informer("v1", "ConfigMap", process.namespace)
        await config.start()
        await config.synced()
        await process.answer_probes()
        return await process.run(PodAutoscalerReconciler(process.client, config).run())


class PodAutoscalerReconciler(Reconciler):
    """Reconciles PodAutoscalers of the KPA class."""

    api_version = names.AUTOSCALING
    kind = "PodAutoscaler"
    dependents = ("Active", "SKSReady", "ScaleTargetInitialized")

    def __init__(self, client: Client, config: Informer) -> None:
        super().__init__(client)
        self._config = config
        config.subscribe(self.enqueue_all)
        self._deployments = client.informer("apps/v1", "Deployment", label_selector=names.REVISION)
        self.watch(self._deployments, _revision_key)
        self._services = self.watch_owned(
            client.informer(names.NETWORKING, "ServerlessService"), self.kind
        )
        self.slices = client.informer("discovery.k8s.io/v1", "EndpointSlice")
        self.watch(self.slices, _revision_key)

    def mine(self, obj: Object) -> bool:
        """Tell whether the object is of the KPA class, the default."""
        annotations = obj["metadata"].get("annotations") or {}
        return bool(annotations.get(names.AUTOSCALER_CLASS, _KPA) == _KPA)

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Scale the revision's Deployment and keep its ServerlessService."""
        metadata = obj["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        target = self._deployments.get(obj["spec"]["scaleTargetRef"]["name"], namespace)
        if target is None:
            conditions.unknown("ScaleTargetInitialized", "NoScaleTarget", "no Deployment yet")
            return
        ready = len(ready_endpoints(self.slices.list(namespace), f"{name}-private"))
        wanted, initial = self._bounds(obj, initialized=is_true(obj, "ScaleTargetInitialized"))
        service = await self._serverless_service(obj)
        if wanted != target["spec"].get("replicas", 1):
            await self._scale(target, wanted)
        self._tell(obj, conditions, wanted, ready, initial, service)

    def _bounds(self, obj: Object, *, initialized: bool) -> tuple[int, int]:
        """Return the wanted and the initial scale: load is not measured, one pod is the least."""
        values = configmaps.data(self._config, "config-autoscaler")

        def bound(name: str, default: int) -> int:
            return scale_bound(obj, name, int(values.get(name, default)))

        initial, most = max(1, bound("initial-scale", 1)), bound("max-scale", 0)
        if initialized and obj["spec"].get("reachability") == "Unreachable":
            return 0, initial
        wanted = max(1, bound("min-scale", 0), 0 if initialized else initial)
        return (min(wanted, most) if most else wanted), initial

    async def _scale(self, target: Object, replicas: int) -> None:
        metadata = target["metadata"]
        await self.client.patch(
            "apps/v1",
            "Deployment",
            metadata["name"],
            metadata["namespace"],
            {"spec": {"replicas": replicas}},
        )

    async def _serverless_service(self, obj: Object) -> Object:
        metadata = obj["metadata"]
        desired = {
            "apiVersion": names.NETWORKING,
            "kind": "ServerlessService",
            "metadata": {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "labels": metadata.get("labels") or {},
                "ownerReferences": [owner_reference(obj)],
            },
            "spec": {
                "mode": "Serve",
                "objectRef": obj["spec"]["scaleTargetRef"],
                "protocolType": obj["spec"].get("protocolType", "http1"),
                "numActivators": 2,
            },
        }
        current = self._services.get(metadata["name"], metadata["namespace"])
        return await ensure(self.client, current, desired, replace=["spec"])

    @staticmethod
    def _tell(
        obj: Object, conditions: Conditions, wanted: int, ready: int, initial: int, service: Object
    ) -> None:
        status = obj["status"]
        status["desiredScale"], status["actualScale"] = wanted, ready
        status["serviceName"] = obj["metadata"]["name"]
        status["metricsServiceName"] = f"{obj['metadata']['name']}-private"
        if ready >= initial:
            conditions.true("ScaleTargetInitialized")
        sks = find(service)
        conditions.mirror("SKSReady", sks, absent=("NotReady", "SKS is not yet reconciled"))
        if not wanted:
            conditions.false("Active", "NoTraffic", "The target is not receiving traffic.")
        elif ready:
            conditions.true("Active")
        else:
            message = "Requests to the target are being buffered as resources are provisioned."
            conditions.unknown("Active", "Queued", message)


def _revision_key(obj: Object) -> list[tuple[str, str]]:
    labels = obj["metadata"].get("labels") or {}
    name = labels.get(names.REVISION) or labels.get("kubernetes.io/service-name", "")
    return [(obj["metadata"]["namespace"], name.removesuffix("-private"))]
