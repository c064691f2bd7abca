"""Service (ksvc): a Deployment of its template, a Service before the pods, an Ingress, and its names.

Upstream makes a Configuration, Revisions and a Route, whose conditions are reported here too. A new
template rolls the one Deployment out; there are no Revision objects, only their names.
"""

from __future__ import annotations

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Key
from streamops_sandbox.informer import Informer
from streamops_sandbox.knative import configmaps
from streamops_sandbox.knative.conditions import Conditions, find
from streamops_sandbox.knative.reconciler import Reconciler, ensure, owned
from streamops_sandbox.knative.serving import deployment, names
from streamops_sandbox.objects import Object

_DEFAULT_CLASS = "istio.ingress.networking.knative.dev"
_LOCAL = "svc.cluster.local"
_DOMAIN_TEMPLATE = "{{.Name}}.{{.Namespace}}.{{.Domain}}"
_TRAFFIC = [{"latestRevision": True, "percent": 100}]
_KPA = "kpa.autoscaling.knative.dev"
_WAITING = (
    "CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "ErrImageNeverPull",
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "RunContainerError",
)  # fmt: skip


class ServiceReconciler(Reconciler):
    """Reconciles `serving.knative.dev/v1` Services."""

    api_version = names.API
    kind = "Service"
    dependents = ("ConfigurationsReady", "RoutesReady")

    def __init__(self, client: Client, config: Informer) -> None:
        super().__init__(client)
        self._config = config
        config.subscribe(self.enqueue_all)
        self._deployments = self.watch_owned(client.informer("apps/v1", "Deployment"), self.kind)
        self._ingresses = self.watch_owned(client.informer(names.NETWORKING, "Ingress"), self.kind)
        self._services = self.watch_owned(client.informer("v1", "Service"), self.kind)
        self._pods = self.watch(client.informer("v1", "Pod"), _service_of)

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Roll out the template, then lead traffic to the pods once any Revision was ready."""
        if missing := self._not_modelled(obj):
            message = f"the sandbox does not model {missing}"
            conditions.false("RoutesReady", "NotModelled", message)
            return
        name, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
        current = self._deployments.get(f"{name}-deployment", namespace)
        found = await ensure(self.client, current, deployment.make(obj, current))
        await self._expose(obj)
        self._mark_configuration(obj, found, conditions)
        status, local, external = obj["status"], _local_hosts(obj), self._external_host(obj)
        status["url"] = f"http://{external or local[-1]}"
        status["address"] = {"url": f"http://{local[-1]}"}
        ready = status.get("latestReadyRevisionName")
        if ready is None:
            self._mark_waiting(name, conditions)
            return
        status["traffic"] = [{**_TRAFFIC[0], "revisionName": ready}]
        await self._route(obj, [external] if external else [], conditions)

    def _not_modelled(self, obj: Object) -> str:
        """Return what of the Service or its settings the sandbox does not do; empty for nothing."""
        settings = configmaps.data(self._config, "config-network")
        if settings.get("external-domain-tls", "").lower() == "enabled":
            return "TLS for external domains"
        if settings.get("domain-template", _DOMAIN_TEMPLATE) != _DOMAIN_TEMPLATE:
            return "domain-template"
        if obj["spec"].get("traffic", _TRAFFIC) != _TRAFFIC:
            return "traffic targets other than the latest revision"
        annotations = (obj["spec"]["template"].get("metadata") or {}).get("annotations") or {}
        if (scaler := annotations.get(names.AUTOSCALER_CLASS, _KPA)) != _KPA:
            return f"autoscaling of class {scaler}"
        return ""

    async def _expose(self, obj: Object) -> None:
        """Keep the Service that the gateway sends requests to."""
        name = _pods_name(obj)
        if self._services.get(name, obj["metadata"]["namespace"]) is None:
            port = {"name": "http", "port": 80, "targetPort": deployment.USER_PORT}
            selector = {names.SERVICE_UID: obj["metadata"]["uid"]}
            spec = {"ports": [port], "selector": selector}
            await self.client.create(_child(obj, "v1", "Service", spec, name))

    def _mark_configuration(self, obj: Object, found: Object, conditions: Conditions) -> None:
        """Note how far the rollout is; a Revision that was ready stays so while its pods come back."""
        status, kind = obj["status"], "ConfigurationsReady"
        newest = found["metadata"]["labels"][names.REVISION]
        is_new = status.get("latestCreatedRevisionName") != newest
        status["latestCreatedRevisionName"] = newest
        if _is_rolled_out(found):
            status["latestReadyRevisionName"] = newest
            conditions.true(kind)
        elif problem := self._problem(obj, found, newest):
            message = f'Revision "{newest}" failed with message: {problem}.'
            conditions.false(kind, "RevisionFailed", message)
        elif is_new or (
            status.get("latestReadyRevisionName") != newest
            and (conditions.get(kind) or {}).get("status") != "False"
        ):
            conditions.unknown(kind, "Deploying")

    def _problem(self, obj: Object, found: Object, revision: str) -> str:
        """Return what keeps the newest pods from running; empty for nothing."""
        container = deployment.serving_container(obj)["name"]
        for pod in self._pods.list(obj["metadata"]["namespace"]):
            is_newest = (pod["metadata"].get("labels") or {}).get(names.REVISION) == revision
            if is_newest and (problem := _of_pod(pod, container)):
                return problem
        for kind, bad in (("ReplicaFailure", "True"), ("Progressing", "False")):
            condition = find(found, kind)
            if condition is not None and condition["status"] == bad:
                return str(condition.get("message") or condition.get("reason"))
        return ""

    @staticmethod
    def _mark_waiting(name: str, conditions: Conditions) -> None:
        """Note that no Revision is ready yet."""
        if (conditions.get("ConfigurationsReady") or {}).get("status") == "False":
            message = f'Configuration "{name}" does not have any ready Revision.'
            conditions.false("RoutesReady", "RevisionMissing", message)
        else:
            message = f'Configuration "{name}" is waiting for a Revision to become ready.'
            conditions.unknown("RoutesReady", "RevisionMissing", message)

    async def _route(self, obj: Object, external: list[str], conditions: Conditions) -> None:
        """Keep the Ingress and, once that is programmed, the name inside the cluster."""
        name, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
        desired = self._ingress(obj, external)
        current = self._ingresses.get(name, namespace)
        programmed = await ensure(self.client, current, desired)
        state = programmed.get("status") or {}
        absent = ("IngressNotConfigured", "Ingress has not yet been reconciled.")
        seen = state.get("observedGeneration") == programmed["metadata"].get("generation")
        conditions.mirror("RoutesReady", find(programmed) if seen else None, absent=absent)
        balancers = (state.get("privateLoadBalancer") or {}).get("ingress") or []
        if not seen or not balancers:
            return
        spec = {
            "type": "ExternalName",
            "externalName": balancers[0]["domainInternal"],
            "sessionAffinity": "None",
            "ports": [{"name": "http2", "port": 80, "protocol": "TCP", "targetPort": 80}],
        }
        placeholder = _child(obj, "v1", "Service", spec)
        await ensure(self.client, self._services.get(name, namespace), placeholder)

    def _ingress(self, obj: Object, external: list[str]) -> Object:
        settings = configmaps.data(self._config, "config-network")
        split = {
            "serviceName": _pods_name(obj),
            "serviceNamespace": obj["metadata"]["namespace"],
            "servicePort": 80,
            "percent": 100,
        }
        http = {"paths": [{"splits": [split]}]}
        rules = [
            {"hosts": hosts, "visibility": visibility, "http": http}
            for hosts, visibility in ((_local_hosts(obj), "ClusterLocal"), (external, "ExternalIP"))
            if hosts
        ]
        made = _child(obj, names.NETWORKING, "Ingress", {"httpOption": "Enabled", "rules": rules})
        given = obj["metadata"].get("annotations") or {}
        chosen = given.get(names.INGRESS_CLASS) or settings.get("ingress-class", _DEFAULT_CLASS)
        made["metadata"]["annotations"] = {**names.inherited(given), names.INGRESS_CLASS: chosen}
        return made

    def _external_host(self, obj: Object) -> str:
        """Return the public host of a Service; empty for one that is reachable inside only."""
        metadata = obj["metadata"]
        labels = metadata.get("labels") or {}
        domains = configmaps.data(self._config, "config-domain")
        domain = next((name for name, selector in sorted(domains.items()) if not selector), _LOCAL)
        if labels.get(names.VISIBILITY) == "cluster-local" or domain == _LOCAL:
            return ""
        return f"{metadata['name']}.{metadata['namespace']}.{domain}"


def _local_hosts(obj: Object) -> list[str]:
    """Return the names a Service has inside the cluster, the full one last."""
    base = f"{obj['metadata']['name']}.{obj['metadata']['namespace']}"
    return [base, f"{base}.svc", f"{base}.{_LOCAL}"]


def _pods_name(obj: Object) -> str:
    """Return the name of the Service before the pods."""
    return f"{obj['metadata']['name']}-pods"


def _child(obj: Object, api_version: str, kind: str, spec: Object, name: str = "") -> Object:
    """Return an object of the Service's own name, or another one."""
    metadata = obj["metadata"]
    labels = {names.ROUTE: metadata["name"], names.SERVICE: metadata["name"]}
    labels = {**(metadata.get("labels") or {}), **labels}
    return owned(obj, api_version, kind, name or metadata["name"], spec, labels=labels)


def _is_rolled_out(found: Object) -> bool:
    """Tell whether all pods of a Deployment are of its newest template, and available."""
    status, wanted = found.get("status") or {}, found["spec"]["replicas"]
    counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
    seen = status.get("observedGeneration") == found["metadata"]["generation"]
    return seen and counts == [wanted] * 3


def _of_pod(pod: Object, container: str) -> str:
    if pod["metadata"].get("deletionTimestamp"):
        return ""
    scheduled = find(pod, "PodScheduled") or {}
    if scheduled.get("status") == "False":
        return str(scheduled.get("message", ""))
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return next((_of_container(one) for one in statuses if one["name"] == container), "")


def _of_container(status: Object) -> str:
    waiting = (status.get("state") or {}).get("waiting") or {}
    states = (status.get("state") or {}, status.get("lastState") or {})
    ended = next((s["terminated"] for s in states if s.get("terminated")), None)
    is_waiting = waiting.get("reason") in _WAITING
    if ended is not None and (is_waiting or "terminated" in states[0]):
        code = ended.get("exitCode", 0)
        reason = ended.get("message") or ended.get("reason") or f"exit code {code}"
        return f"Container failed with: {reason}"
    return str(waiting.get("message") or waiting["reason"]) if is_waiting else ""


def _service_of(pod: Object) -> list[Key]:
    name = (pod["metadata"].get("labels") or {}).get(names.SERVICE)
    return [(pod["metadata"]["namespace"], name)] if name else []
