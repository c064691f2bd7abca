"""PodAutoscaler: scales a revision's Deployment by its load, down to zero and up again."""

from __future__ import annotations

import time

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Object, owner_reference
from streamops_sandbox.informer import Informer
from streamops_sandbox.knative import configmaps
from streamops_sandbox.knative.conditions import Conditions, find, is_true
from streamops_sandbox.knative.reconciler import Reconciler, ensure
from streamops_sandbox.knative.serving import names
from streamops_sandbox.knative.serving.annotations import scale_bound, seconds
from streamops_sandbox.knative.serving.decider import Decider, Settings
from streamops_sandbox.knative.serving.serverlessservice import ready_endpoints
from streamops_sandbox.knative.serving.window import Window

_KPA = "kpa.autoscaling.knative.dev"
_TICK_SECONDS = 2.0
_LONGEST_WINDOW = 3600.0


class PodAutoscalerReconciler(Reconciler):
    """Reconciles PodAutoscalers of the KPA class; `report` takes in the load."""

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
        self._deciders: dict[str, Decider] = {}
        self._idle_since: dict[str, float] = {}

    def mine(self, obj: Object) -> bool:
        """Tell whether the object is of the KPA class, the default."""
        annotations = obj["metadata"].get("annotations") or {}
        return bool(annotations.get(names.AUTOSCALER_CLASS, _KPA) == _KPA)

    def report(self, revision: str, source: str, figures: dict[str, float]) -> None:
        """Take in one line of load; a revision that idled is looked at once more, at once."""
        decider = self._decider(revision)
        decider.window.report(
            source,
            time.monotonic(),
            seconds=figures["seconds"],
            average=figures["average"],
            now=figures["now"],
        )
        self.enqueue(*revision.split("/"))

    def forget(self, source: str) -> None:
        """Drop a source of load that has gone."""
        for decider in self._deciders.values():
            decider.window.forget(source, time.monotonic())

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Decide, scale, and put the activator into or out of the path."""
        metadata = obj["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        target = self._deployments.get(obj["spec"]["scaleTargetRef"]["name"], namespace)
        if target is None:
            conditions.unknown("ScaleTargetInitialized", "NoScaleTarget", "no Deployment yet")
            return
        values = configmaps.data(self._config, "config-autoscaler")
        settings = Settings.read(values, obj)
        ready = len(ready_endpoints(self.slices.list(namespace), f"{name}-private"))
        decider = self._decider(f"{namespace}/{name}")
        moment = time.monotonic()
        decision = decider.decide(settings, ready, moment)
        current = target["spec"].get("replicas", 1)
        initial = scale_bound(obj, "initial-scale", int(values.get("initial-scale", 1)))
        initialized = is_true(obj, "ScaleTargetInitialized")
        wanted = decision.scale
        if not initialized:
            wanted = max(wanted, initial, settings.min_scale)
        service = await self._serverless_service(obj, proxied=decision.proxied or not wanted)
        wanted = self._hold(obj, settings, wanted, current, service)
        if wanted != current:
            await self._scale(target, wanted)
        self._tell(obj, conditions, wanted, ready, initial, service)
        self._come_back(obj, decider, settings, wanted, moment)

    def _decider(self, revision: str) -> Decider:
        if revision not in self._deciders:
            self._deciders[revision] = Decider(Window(time.monotonic(), _LONGEST_WINDOW))
        return self._deciders[revision]

    def _hold(
        self, obj: Object, settings: Settings, wanted: int, current: int, service: Object
    ) -> int:
        """Keep the last pods until the window has passed and the activator is in the path."""
        metadata = obj["metadata"]
        key = f"{metadata['namespace']}/{metadata['name']}"
        if wanted or not current:
            self._idle_since.pop(key, None)
            return wanted
        moment = time.monotonic()
        quiet = moment - self._decider(key).window.last_activity()
        if quiet < settings.stable:
            return current
        since = self._idle_since.setdefault(key, moment)
        values = configmaps.data(self._config, "config-autoscaler")
        grace = seconds(values.get("scale-to-zero-grace-period", "30s"))
        retention = seconds(values.get("scale-to-zero-pod-retention-period", "0s"))
        in_path = is_true(service, "ActivatorEndpointsPopulated") and _observed(service)
        if (in_path or moment - since >= grace) and quiet >= retention:
            return 0
        return current

    async def _scale(self, target: Object, replicas: int) -> None:
        metadata = target["metadata"]
        await self.client.patch(
            "apps/v1",
            "Deployment",
            metadata["name"],
            metadata["namespace"],
            {"spec": {"replicas": replicas}},
        )

    async def _serverless_service(self, obj: Object, *, proxied: bool) -> Object:
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
                "mode": "Proxy" if proxied else "Serve",
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
        if ready >= max(1, initial) or not initial:
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

    def _come_back(
        self, obj: Object, decider: Decider, settings: Settings, wanted: int, moment: float
    ) -> None:
        """Look again while there is load, or when the last of it will have left the window."""
        key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        left = decider.window.last_activity() + settings.stable - moment
        if decider.window.busy() or (left > 0 and wanted > max(1, settings.min_scale)):
            self.requeue_after(*key, _TICK_SECONDS)
        elif wanted > settings.min_scale:
            self.requeue_after(*key, max(left, _TICK_SECONDS))


def _observed(obj: Object) -> bool:
    state = obj.get("status") or {}
    return bool(state.get("observedGeneration") == obj["metadata"].get("generation"))


def _revision_key(obj: Object) -> list[tuple[str, str]]:
    labels = obj["metadata"].get("labels") or {}
    name = labels.get(names.REVISION) or labels.get("kubernetes.io/service-name", "")
    return [(obj["metadata"]["namespace"], name.removesuffix("-private"))]
