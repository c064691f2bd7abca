"""Service (ksvc): a Revision for each template, an Ingress to the newest that is ready, and its names.

Upstream puts a Configuration and a Route between; the conditions are theirs. Domains follow
config-domain.
"""

from __future__ import annotations

import yaml

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.controller import controller_of
from streamops_sandbox.informer import Informer
from streamops_sandbox.knative import configmaps
from streamops_sandbox.knative.conditions import Conditions, find, is_true
from streamops_sandbox.knative.reconciler import NotOwned, Reconciler, ensure, owned
from streamops_sandbox.knative.serving import names
from streamops_sandbox.objects import Object

_DEFAULT_CLASS = "istio.ingress.networking.knative.dev"
_GROUP = "serving.knative.dev/"
_CLUSTER = "cluster.local"
_LOCAL = f"svc.{_CLUSTER}"
_DOMAIN_TEMPLATE = "{{.Name}}.{{.Namespace}}.{{.Domain}}"
_TRAFFIC = [{"latestRevision": True, "percent": 100}]


class ServiceReconciler(Reconciler):
    """Reconciles `serving.knative.dev/v1` Services; old Revisions stay, without pods."""

    api_version = names.API
    kind = "Service"
    dependents = ("ConfigurationsReady", "RoutesReady")

    def __init__(self, client: Client, config: Informer) -> None:
        super().__init__(client)
        self._config = config
        config.subscribe(self.enqueue_all)
        self._revisions = self.watch_owned(client.informer(names.API, "Revision"), self.kind)
        self._ingresses = self.watch_owned(client.informer(names.NETWORKING, "Ingress"), self.kind)
        self._services = self.watch_owned(client.informer("v1", "Service"), self.kind)

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Keep the newest Revision, then lead traffic to the newest that is ready."""
        if missing := self._not_modelled(obj):
            message = f"the sandbox does not model {missing}"
            conditions.false("RoutesReady", "NotModelled", message)
            return
        revisions = self._owned(obj)
        newest = await self._newest(obj, revisions, conditions)
        if newest is None:
            return
        status, ready = obj["status"], [one for one in revisions if is_true(one)]
        status["latestCreatedRevisionName"] = newest["metadata"]["name"]
        _mark_configuration(newest, conditions)
        local = _local_hosts(obj)
        external = self._external_host(obj)
        status["url"] = f"http://{external or local[-1]}"
        status["address"] = {"url": f"http://{local[-1]}"}
        if not ready:
            self._mark_waiting(obj, newest, conditions)
            return
        active = ready[-1]["metadata"]["name"]
        status["latestReadyRevisionName"] = active
        status["traffic"] = [{**_TRAFFIC[0], "revisionName": active}]
        await self._retire(revisions, active)
        await self._route(obj, active, [external] if external else [], conditions)

    def _not_modelled(self, obj: Object) -> str:
        """Return what of the Service or its settings the sandbox does not do; empty for nothing."""
        settings = configmaps.data(self._config, "config-network")
        if settings.get("external-domain-tls", "").lower() == "enabled":
            return "TLS for external domains"
        if settings.get("domain-template", _DOMAIN_TEMPLATE) != _DOMAIN_TEMPLATE:
            return "domain-template"
        if obj["spec"].get("traffic", _TRAFFIC) != _TRAFFIC:
            return "traffic targets other than the latest revision"
        return ""

    def _owned(self, obj: Object) -> list[Object]:
        """Return the Service's Revisions, the newest last."""
        uid, namespace = obj["metadata"]["uid"], obj["metadata"]["namespace"]
        found = self._revisions.list(namespace)
        return sorted(
            (one for one in found if (controller_of(one) or {}).get("uid") == uid), key=_generation
        )

    async def _newest(
        self, obj: Object, revisions: list[Object], conditions: Conditions
    ) -> Object | None:
        """Return the Revision of the template, created where the newest is of another one."""
        if revisions and _is_of(revisions[-1], obj["spec"]["template"]):
            return revisions[-1]
        desired = _revision(obj, _generation(revisions[-1]) + 1 if revisions else 1)
        try:
            return await self.client.create(desired)
        except ApiError as error:
            if not error.already_exists:
                raise
        name, namespace = desired["metadata"]["name"], desired["metadata"]["namespace"]
        found = await self.client.get(names.API, "Revision", name, namespace)
        if (controller_of(found) or {}).get("uid") == obj["metadata"]["uid"]:
            return found  # created a moment ago, and not seen yet
        message = f'Revision "{name}" exists and belongs to something else'
        conditions.false("ConfigurationsReady", "RevisionFailed", message)
        return None

    @staticmethod
    def _mark_waiting(obj: Object, newest: Object, conditions: Conditions) -> None:
        """Note that no Revision is ready yet."""
        name = obj["metadata"]["name"]
        if (find(newest) or {}).get("status") == "False":
            message = f'Configuration "{name}" does not have any ready Revision.'
            conditions.false("RoutesReady", "RevisionMissing", message)
        else:
            message = f'Configuration "{name}" is waiting for a Revision to become ready.'
            conditions.unknown("RoutesReady", "RevisionMissing", message)

    async def _retire(self, revisions: list[Object], active: str) -> None:
        """Note on Revisions up to the active one whether they have pods."""
        for revision in revisions:
            is_active = revision["metadata"]["name"] == active
            state = "active" if is_active else "reserve"
            if revision["metadata"]["labels"].get(names.ROUTING_STATE) != state:
                labels = {"labels": {names.ROUTING_STATE: state}}
                await self.client.patch(revision, {"metadata": labels})
            if is_active:
                return

    async def _route(
        self, obj: Object, revision: str, external: list[str], conditions: Conditions
    ) -> None:
        """Keep the Ingress and, once that is programmed, the name inside the cluster."""
        name, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
        desired = self._ingress(obj, revision, external)
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
        try:
            await ensure(self.client, self._services.get(name, namespace), placeholder)
        except NotOwned as error:
            conditions.false("RoutesReady", "ServiceNotOwned", str(error))

    def _ingress(self, obj: Object, revision: str, external: list[str]) -> Object:
        settings = configmaps.data(self._config, "config-network")
        split = {
            "serviceName": revision,
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
        domain = self._domain(labels)
        if labels.get(names.VISIBILITY) == "cluster-local" or domain == _LOCAL:
            return ""
        return f"{metadata['name']}.{metadata['namespace']}.{domain}"

    def _domain(self, labels: dict[str, str]) -> str:
        """Return the domain of a Service: the entry of config-domain with the best selector."""
        best, weight = _LOCAL, -1
        for domain, text in sorted(configmaps.data(self._config, "config-domain").items()):
            selector = (yaml.safe_load(text) or {}).get("selector") or {} if text else {}
            if selector.items() <= labels.items() and len(selector) > weight:
                best, weight = domain, len(selector)
        return best


def _local_hosts(obj: Object) -> list[str]:
    """Return the names a Service has inside the cluster, the full one last."""
    base = f"{obj['metadata']['name']}.{obj['metadata']['namespace']}"
    return [base, f"{base}.svc", f"{base}.{_LOCAL}"]


def _child(obj: Object, api_version: str, kind: str, spec: Object) -> Object:
    """Return an object of the Service's own name."""
    metadata = obj["metadata"]
    labels = {names.ROUTE: metadata["name"], names.SERVICE: metadata["name"]}
    labels = {**(metadata.get("labels") or {}), **labels}
    return owned(obj, api_version, kind, metadata["name"], spec, labels=labels)


def _mark_configuration(newest: Object, conditions: Conditions) -> None:
    ready, kind = find(newest), "ConfigurationsReady"
    if ready is not None and ready["status"] == "False":
        name, why = newest["metadata"]["name"], ready.get("message", "")
        message = f'Revision "{name}" failed with message: {why}.'
        conditions.false(kind, "RevisionFailed", message)
    else:
        conditions.mirror(kind, ready, absent=("", ""))


def _generation(revision: Object) -> int:
    return int((revision["metadata"].get("labels") or {}).get(names.CONFIGURATION_GENERATION, 0))


def _own(marks: dict[str, str] | None) -> dict[str, str]:
    return {k: v for k, v in names.inherited(marks).items() if not k.startswith(_GROUP)}


def _is_of(revision: Object, template: Object) -> bool:
    """Tell whether a Revision was made from a template."""
    wanted, metadata = template.get("metadata") or {}, revision["metadata"]
    return (
        revision["spec"] == template["spec"]
        and wanted.get("name") in (None, "", metadata["name"])
        and all(
            _own(metadata.get(key)) == _own(wanted.get(key)) for key in ("labels", "annotations")
        )
    )


def _revision(obj: Object, number: int) -> Object:
    metadata, template = obj["metadata"], obj["spec"]["template"]
    own = template.get("metadata") or {}
    labels = {
        **(own.get("labels") or {}),
        names.CONFIGURATION: metadata["name"],
        names.CONFIGURATION_GENERATION: str(number),
        names.ROUTING_STATE: "pending",
        names.SERVICE: metadata["name"],
        names.SERVICE_UID: metadata["uid"],
    }
    annotations = names.inherited(own.get("annotations"))
    creator = (metadata.get("annotations") or {}).get(names.LAST_MODIFIER)
    if creator:
        annotations[names.CREATOR] = creator
    name, spec = own.get("name") or f"{metadata['name']}-{number:05}", template["spec"]
    return owned(obj, names.API, "Revision", name, spec, labels=labels, annotations=annotations)
