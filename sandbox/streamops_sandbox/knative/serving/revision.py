"""Revision: its Deployment, the Service before its pods, and why these do or do not run.

Load is not measured: the Revision that traffic leads to has as many pods as its lower bound says, at
least one; earlier ones have none.
"""

from __future__ import annotations

from streamops_sandbox.client import Client
from streamops_sandbox.knative.conditions import Conditions, find, is_true
from streamops_sandbox.knative.reconciler import Reconciler, ensure, owned
from streamops_sandbox.knative.serving import deployment, names
from streamops_sandbox.objects import Object

_KPA = "kpa.autoscaling.knative.dev"
_SCALING = "autoscaling.knative.dev/"
_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_CONTAINER = (
    "CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "RunContainerError",
)  # fmt: skip
#: (condition, reason, message) to mark False.
Problem = tuple[str, str, str]


class RevisionReconciler(Reconciler):
    """Reconciles Revisions."""

    api_version = names.API
    kind = "Revision"
    dependents = ("ResourcesAvailable", "ContainerHealthy")

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._deployments = self.watch_owned(client.informer("apps/v1", "Deployment"), "Revision")
        self._services = self.watch_owned(client.informer("v1", "Service"), "Revision")
        self._pods = self.watch(client.informer("v1", "Pod"), _revision_of)

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Keep Deployment and Service; read the state off the Deployment and its pods."""
        scaler = (obj["metadata"].get("annotations") or {}).get(names.AUTOSCALER_CLASS, _KPA)
        if scaler != _KPA:
            message = f"the sandbox does not model autoscaling of class {scaler}"
            conditions.false("ResourcesAvailable", "NotModelled", message)
            return
        obj["status"]["containerStatuses"] = [
            {"name": container["name"], "imageDigest": container["image"]}
            for container in obj["spec"]["containers"]
        ]
        wanted = _replicas(obj)
        found = await self._deployment(obj, wanted)
        await self._service(obj)
        available = (found.get("status") or {}).get("availableReplicas", 0)
        obj["status"] |= {"desiredReplicas": wanted, "actualReplicas": available}
        self._judge(obj, found, conditions, enough=available >= wanted)
        if not wanted:
            conditions.false("Active", "NoTraffic", "The target is not receiving traffic.")
        elif available:
            conditions.true("Active")
        else:
            conditions.unknown("Active", "Queued", "Requests are being queued")

    async def _deployment(self, obj: Object, replicas: int) -> Object:
        desired = deployment.make(obj, replicas)
        name, namespace = desired["metadata"]["name"], obj["metadata"]["namespace"]
        return await ensure(self.client, self._deployments.get(name, namespace), desired)

    async def _service(self, obj: Object) -> None:
        """Keep the Service that the gateway sends requests to."""
        metadata = obj["metadata"]
        if self._services.get(metadata["name"], metadata["namespace"]) is not None:
            return
        port = {"name": "http", "port": 80, "targetPort": deployment.user_port(obj)}
        spec = {"ports": [port], "selector": {names.REVISION_UID: metadata["uid"]}}
        labels = deployment.labels_of(obj)
        await self.client.create(owned(obj, "v1", "Service", metadata["name"], spec, labels=labels))

    def _judge(self, obj: Object, found: Object, conditions: Conditions, *, enough: bool) -> None:
        if enough:
            for kind in self.dependents:
                conditions.true(kind)
        elif (problem := self._problem(obj, found)) is not None:
            conditions.false(*problem)
        elif not is_true(obj) and not any(
            (conditions.get(kind) or {}).get("status") == "False" for kind in self.dependents
        ):
            for kind in self.dependents:
                conditions.unknown(kind, "Deploying")

    def _problem(self, obj: Object, found: Object) -> Problem | None:
        """Return what keeps the Deployment's pods from running, or None."""
        container = deployment.serving_container(obj)["name"]
        for pod in self._pods.list(obj["metadata"]["namespace"]):
            if (pod["metadata"].get("labels") or {}).get(names.REVISION) == obj["metadata"]["name"]:
                problem = _of_pod(pod, container)
                if problem is not None:
                    return problem
        for kind, bad in (("ReplicaFailure", "True"), ("Progressing", "False")):
            condition = find(found, kind)
            if condition is not None and condition["status"] == bad:
                reason, message = condition.get("reason", ""), condition.get("message", "")
                return "ResourcesAvailable", reason, message
        return None


def _replicas(revision: Object) -> int:
    """Return the lower bound, no more than the upper one; 0 for a Revision that was replaced."""
    metadata = revision["metadata"]
    if (metadata.get("labels") or {}).get(names.ROUTING_STATE) == "reserve":
        return 0
    given = metadata.get("annotations") or {}
    low, high = (int(given.get(f"{_SCALING}{key}", 0)) for key in ("min-scale", "max-scale"))
    return min(max(1, low), high or max(1, low))


def _of_pod(pod: Object, container: str) -> Problem | None:
    if pod["metadata"].get("deletionTimestamp"):
        return None
    state = pod.get("status") or {}
    for condition in state.get("conditions") or []:
        unschedulable = condition["type"] == "PodScheduled" and condition["status"] == "False"
        if unschedulable and condition.get("reason") == "Unschedulable":
            return "ResourcesAvailable", "Unschedulable", condition.get("message", "")
    statuses = state.get("containerStatuses") or []
    return next((_of_container(one) for one in statuses if one["name"] == container), None)


def _of_container(status: Object) -> Problem | None:
    waiting = (status.get("state") or {}).get("waiting") or {}
    states = (status.get("state") or {}, status.get("lastState") or {})
    ended = next((s["terminated"] for s in states if s.get("terminated")), None)
    if ended is not None and (waiting.get("reason") in _CONTAINER or "terminated" in states[0]):
        code = ended.get("exitCode", 0)
        message = ended.get("message") or ended.get("reason") or f"exit code {code}"
        return "ContainerHealthy", f"ExitCode{code}", f"Container failed with: {message}"
    if waiting.get("reason") in _IMAGE:
        return "ResourcesAvailable", waiting["reason"], waiting.get("message", "")
    if waiting.get("reason") in _CONTAINER:
        return "ContainerHealthy", waiting["reason"], waiting.get("message", "")
    return None


def _revision_of(pod: Object) -> list[tuple[str, str]]:
    name = (pod["metadata"].get("labels") or {}).get(names.REVISION)
    return [(pod["metadata"]["namespace"], name)] if name else []
