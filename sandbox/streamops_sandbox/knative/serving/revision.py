"""Revision: its Deployment, its PodAutoscaler, and why it does or does not run."""

from __future__ import annotations

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Object, owner_reference
from streamops_sandbox.informer import Informer
from streamops_sandbox.knative import configmaps
from streamops_sandbox.knative.conditions import Conditions, find
from streamops_sandbox.knative.reconciler import Reconciler, ensure
from streamops_sandbox.knative.serving import deployment, names
from streamops_sandbox.knative.serving.annotations import scale_bound
from streamops_sandbox.knative.serving.pods import why_not_running


class RevisionReconciler(Reconciler):
    """Reconciles Revisions."""

    api_version = names.API
    kind = "Revision"
    dependents = ("ResourcesAvailable", "ContainerHealthy")

    def __init__(self, client: Client, config: Informer) -> None:
        super().__init__(client)
        self._config = config
        config.subscribe(self.enqueue_all)
        self._deployments = self.watch_owned(client.informer("apps/v1", "Deployment"), "Revision")
        self._autoscalers = self.watch_owned(
            client.informer(names.AUTOSCALING, "PodAutoscaler"), "Revision"
        )
        self._images = client.informer("caching.internal.knative.dev/v1alpha1", "Image")
        self.watch(self._images, lambda _: ())
        self._pods = self.watch(
            client.informer("v1", "Pod", label_selector=names.REVISION), _revision_of
        )

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Keep Deployment, image cache and autoscaler; read the state off them."""
        obj["status"]["containerStatuses"] = [
            {"name": container["name"], "imageDigest": container["image"]}
            for container in obj["spec"]["containers"]
        ]
        found = await self._deployment(obj)
        await self._image(obj)
        autoscaler = await self._autoscaler(obj)
        self._from_deployment(obj, found, conditions)
        self._from_autoscaler(obj, autoscaler, conditions)

    async def _deployment(self, obj: Object) -> Object:
        settings = configmaps.data(self._config, "config-deployment")
        scaling = configmaps.data(self._config, "config-autoscaler")
        initial = scale_bound(obj, "initial-scale", int(scaling.get("initial-scale", 1)))
        desired = deployment.make(obj, settings.get("queue-sidecar-image", ""), initial)
        name, namespace = desired["metadata"]["name"], obj["metadata"]["namespace"]
        current = self._deployments.get(name, namespace)
        if current is not None:
            # The autoscaler's; and of the containers only the queue-proxy may have changed.
            desired["spec"]["replicas"] = current["spec"].get("replicas")
            containers = current["spec"]["template"]["spec"]["containers"]
            images = {container["name"]: container["image"] for container in containers}
            if images.get("queue-proxy") == settings.get("queue-sidecar-image", ""):
                return current
        return await ensure(self.client, current, desired)

    async def _image(self, obj: Object) -> None:
        for container in obj["spec"]["containers"]:
            name = f"{obj['metadata']['name']}-cache-{container['name']}"
            if self._images.get(name, obj["metadata"]["namespace"]) is None:
                await self.client.create(
                    {
                        "apiVersion": "caching.internal.knative.dev/v1alpha1",
                        "kind": "Image",
                        "metadata": {
                            "name": name,
                            "namespace": obj["metadata"]["namespace"],
                            "ownerReferences": [owner_reference(obj)],
                        },
                        "spec": {"image": container["image"]},
                    }
                )

    async def _autoscaler(self, obj: Object) -> Object:
        metadata = obj["metadata"]
        labels = metadata.get("labels") or {}
        reachable = labels.get(names.ROUTING_STATE)
        desired = {
            "apiVersion": names.AUTOSCALING,
            "kind": "PodAutoscaler",
            "metadata": {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "labels": {
                    **{k: v for k, v in labels.items() if k != names.ROUTING_STATE},
                    "app": metadata["name"],
                    names.REVISION: metadata["name"],
                    names.REVISION_UID: metadata["uid"],
                },
                "annotations": names.inherited(metadata.get("annotations")),
                "ownerReferences": [owner_reference(obj)],
            },
            "spec": {
                "containerConcurrency": obj["spec"].get("containerConcurrency") or 0,
                "scaleTargetRef": {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": deployment.name_of(obj),
                },
                "protocolType": _protocol(obj),
                "reachability": {"active": "Reachable", "reserve": "Unreachable"}.get(
                    reachable or "", "Unknown"
                ),
            },
        }
        current = self._autoscalers.get(metadata["name"], metadata["namespace"])
        return await ensure(self.client, current, desired, replace=["spec"])

    def _from_deployment(self, obj: Object, found: Object, conditions: Conditions) -> None:
        state = found.get("status") or {}
        progressing = find(found, "Progressing")
        failure = find(found, "ReplicaFailure")
        if failure is not None and failure["status"] == "True":
            conditions.false(
                "ResourcesAvailable", failure.get("reason", ""), failure.get("message", "")
            )
        elif progressing is not None and progressing["status"] == "False":
            conditions.false(
                "ResourcesAvailable", progressing.get("reason", ""), progressing.get("message", "")
            )
        elif state.get("availableReplicas"):
            conditions.true("ResourcesAvailable")
            conditions.true("ContainerHealthy")
            return
        if found["spec"].get("replicas"):
            problem = why_not_running(self._pods_of(obj), deployment.serving_container(obj)["name"])
            if problem is not None:
                conditions.false(*problem)

    def _from_autoscaler(self, obj: Object, autoscaler: Object, conditions: Conditions) -> None:
        state = autoscaler.get("status") or {}
        for source, target in (
            ("desiredScale", "desiredReplicas"),
            ("actualScale", "actualReplicas"),
        ):
            if state.get(source) is not None:
                obj["status"][target] = max(0, state[source])
        active = find(autoscaler, "Active")
        conditions.mirror("Active", active, absent=("Queued", "Requests are being queued"))
        started = find(autoscaler, "ScaleTargetInitialized")
        if started is not None and started["status"] == "True":
            if (active or {}).get("reason") == "NoTraffic" or conditions_hold(conditions):
                conditions.true("ResourcesAvailable")
                conditions.true("ContainerHealthy")
        elif not any(_is_false(conditions, kind) for kind in self.dependents):
            for kind in self.dependents:
                conditions.unknown(kind, "Deploying")

    def _pods_of(self, obj: Object) -> list[Object]:
        return [
            pod
            for pod in self._pods.list(obj["metadata"]["namespace"])
            if pod["metadata"]["labels"].get(names.REVISION) == obj["metadata"]["name"]
        ]


def conditions_hold(conditions: Conditions) -> bool:
    """Tell whether nothing is known to be wrong with a Revision's containers."""
    return not any(_is_false(conditions, kind) for kind in RevisionReconciler.dependents)


def _is_false(conditions: Conditions, kind: str) -> bool:
    condition = conditions.get(kind)
    return condition is not None and condition["status"] == "False"


def _protocol(obj: Object) -> str:
    ports = deployment.serving_container(obj).get("ports") or [{}]
    return "h2c" if ports[0].get("name") == "h2c" else "http1"


def _revision_of(pod: Object) -> list[tuple[str, str]]:
    return [(pod["metadata"]["namespace"], pod["metadata"]["labels"][names.REVISION])]
