"""Service (ksvc): a Revision for each template, an Ingress that splits traffic, and the names it has.

Upstream puts a Configuration and a Route between; the conditions are theirs. Names follow
config-domain and config-network.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.controller import Object, controller_of, owner_reference
from streamops_sandbox.informer import Informer
from streamops_sandbox.knative import configmaps
from streamops_sandbox.knative.conditions import Conditions, find, is_true
from streamops_sandbox.knative.reconciler import NotOwned, Reconciler, ensure
from streamops_sandbox.knative.serving import names
from streamops_sandbox.object_writes import patch

_DEFAULT_CLASS = "istio.ingress.networking.knative.dev"
_GROUP = "serving.knative.dev/"


class ServiceReconciler(Reconciler):
    """Reconciles `serving.knative.dev/v1` Services; old Revisions stay, for traffic to go back to."""

    api_version = names.API
    kind = "Service"
    dependents = ("ConfigurationsReady", "RoutesReady")

    def __init__(self, client: Client, config: Informer) -> None:
        super().__init__(client)
        self._config = config
        self._domains = Domains(config)
        config.subscribe(self.enqueue_all)
        self._revisions = self.watch_owned(client.informer(names.API, "Revision"), self.kind)
        self._ingresses = self.watch_owned(client.informer(names.NETWORKING, "Ingress"), self.kind)
        services = client.informer("v1", "Service", label_selector=names.ROUTE)
        self._services = self.watch_owned(services, self.kind)

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Keep the newest Revision, then lead traffic to those that are ready."""
        revisions = self._owned(obj)
        newest = await self._newest(obj, revisions, conditions)
        if newest is None:
            return
        status, ready = obj["status"], [one for one in revisions if is_true(one)]
        status["latestCreatedRevisionName"] = newest["metadata"]["name"]
        if ready:
            status["latestReadyRevisionName"] = ready[-1]["metadata"]["name"]
        _mark_configuration(newest, conditions)
        try:
            local = self._domains.local(obj)[-1]
            host = local if self._domains.is_local(obj) else self._domains.external(obj)
        except BadTemplate as error:
            conditions.false("RoutesReady", "InvalidDomainTemplate", str(error))
            return
        status["url"], status["address"] = f"http://{host}", {"url": f"http://{local}"}
        traffic = self._traffic(obj, newest, conditions)
        if traffic is None:
            return
        status["traffic"] = traffic
        shares: dict[str, int] = {}
        for target in traffic:
            name = target["revisionName"]
            shares[name] = shares.get(name, 0) + target.get("percent", 0)
        await self._label_revisions(revisions, obj["metadata"]["name"], set(shares))
        await self._route(obj, shares, conditions)

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

    def _traffic(self, obj: Object, newest: Object, conditions: Conditions) -> list[Object] | None:
        """Return the traffic targets with their Revisions' names; None where one has none yet."""
        targets, kind = [], "RoutesReady"
        name, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
        external_tls = configmaps.data(self._config, "config-network").get(
            "external-domain-tls", ""
        )
        if external_tls.lower() == "enabled":
            conditions.false(kind, "NotModelled", "TLS for external domains is not modelled")
            return None
        for target in obj["spec"].get("traffic") or []:
            wanted = target.get("revisionName") or obj["status"].get("latestReadyRevisionName")
            if target.get("tag"):
                message = "the sandbox does not model tags of traffic targets"
                conditions.false(kind, "NotModelled", message)
                return None
            if wanted is None and (find(newest) or {}).get("status") == "False":
                message = f'Configuration "{name}" does not have any ready Revision.'
                conditions.false(kind, "RevisionMissing", message)
                return None
            if wanted is None:
                message = f'Configuration "{name}" is waiting for a Revision to become ready.'
                conditions.unknown(kind, "RevisionMissing", message)
                return None
            revision = self._revisions.get(wanted, namespace)
            if revision is None:
                message = f'Revision "{wanted}" referenced in traffic not found.'
                conditions.false(kind, "RevisionMissing", message)
                return None
            if not is_true(revision):
                message = f'Revision "{wanted}" is not yet ready.'
                conditions.unknown(kind, "RevisionMissing", message)
                return None
            targets.append({**target, "revisionName": wanted})
        return targets

    async def _label_revisions(
        self, revisions: list[Object], route: str, targeted: set[str]
    ) -> None:
        """Note on Revisions whether traffic leads to them: only those have pods for good."""
        for revision in revisions:
            metadata = revision["metadata"]
            current = (metadata.get("labels") or {}).get(names.ROUTING_STATE)
            used = metadata["name"] in targeted
            if used == (current == "active"):
                continue
            change = {
                "labels": {names.ROUTING_STATE: "active" if used else "reserve"},
                "annotations": {names.ROUTES: route if used else None},
            }
            if used or current == "active":
                await patch(self.client, revision, {"metadata": change})

    async def _route(self, obj: Object, shares: dict[str, int], conditions: Conditions) -> None:
        """Keep the Ingress and, once that is programmed, the name inside the cluster."""
        name, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
        desired = self._ingress(obj, shares)
        current = self._ingresses.get(name, namespace)
        programmed = await ensure(self.client, current, desired, replace=["spec"])
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

    def _ingress(self, obj: Object, shares: dict[str, int]) -> Object:
        metadata = obj["metadata"]
        settings = configmaps.data(self._config, "config-network")
        splits = [
            {
                "serviceName": revision,
                "serviceNamespace": metadata["namespace"],
                "servicePort": 80,
                "percent": percent,
                "appendHeaders": {
                    names.REVISION_HEADER: revision,
                    names.NAMESPACE_HEADER: metadata["namespace"],
                },
            }
            for revision, percent in sorted(shares.items())
            if percent
        ]
        http = {"paths": [{"splits": splits}]}
        rules = [{"hosts": self._domains.local(obj), "visibility": "ClusterLocal", "http": http}]
        if not self._domains.is_local(obj):
            hosts = [self._domains.external(obj)]
            rules.append({"hosts": hosts, "visibility": "ExternalIP", "http": http})
        made = _child(obj, names.NETWORKING, "Ingress", {"httpOption": "Enabled", "rules": rules})
        given = metadata.get("annotations") or {}
        made["metadata"]["annotations"] = {
            **names.inherited(given),
            names.INGRESS_CLASS: given.get(names.INGRESS_CLASS)
            or settings.get("ingress-class", _DEFAULT_CLASS),
        }
        return made


def _child(obj: Object, api_version: str, kind: str, spec: Object) -> Object:
    """Return an object of the Service's own name."""
    metadata = obj["metadata"]
    labels = {names.ROUTE: metadata["name"], names.SERVICE: metadata["name"]}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": {**(metadata.get("labels") or {}), **labels},
            "ownerReferences": [owner_reference(obj)],
        },
        "spec": spec,
    }


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
    return {
        "apiVersion": names.API,
        "kind": "Revision",
        "metadata": {
            "name": own.get("name") or f"{metadata['name']}-{number:05}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner_reference(obj)],
        },
        "spec": template["spec"],
    }


_CLUSTER = "cluster.local"
_LOCAL = f"svc.{_CLUSTER}"
_DEFAULT_TEMPLATE = "{{.Name}}.{{.Namespace}}.{{.Domain}}"
_VARIABLE = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")


class BadTemplate(ValueError):
    """A name template that uses more of Go's template language than variables."""


class Domains:
    """Names hosts by the settings in Serving's ConfigMaps."""

    def __init__(self, config: Informer) -> None:
        self._config = config

    def domain(self, labels: dict[str, str] | None) -> str:
        """Return the domain of a Service: the entry of config-domain with the best selector."""
        best, weight = _LOCAL, -1
        for domain, text in sorted(configmaps.data(self._config, "config-domain").items()):
            selector = (yaml.safe_load(text) or {}).get("selector") or {} if text else {}
            matching = all((labels or {}).get(k) == v for k, v in selector.items())
            if matching and len(selector) > weight:
                best, weight = domain, len(selector)
        return best

    def is_local(self, service: dict[str, Any]) -> bool:
        """Tell whether a Service is reachable from inside the cluster only."""
        labels = service["metadata"].get("labels") or {}
        return labels.get(names.VISIBILITY) == "cluster-local" or self.domain(labels) == _LOCAL

    def external(self, service: dict[str, Any]) -> str:
        """Return the public host of a Service.

        Raises:
            BadTemplate: the template cannot be filled in.
        """
        metadata = service["metadata"]
        settings = configmaps.data(self._config, "config-network")
        values = {
            "Name": metadata["name"],
            "Namespace": metadata["namespace"],
            "Domain": self.domain(metadata.get("labels")),
        }
        return _fill(settings.get("domain-template", _DEFAULT_TEMPLATE), values)

    @staticmethod
    def local(service: dict[str, Any]) -> list[str]:
        """Return the names a Service has inside the cluster, the full one last."""
        base = f"{service['metadata']['name']}.{service['metadata']['namespace']}"
        return [base, f"{base}.svc", f"{base}.svc.{_CLUSTER}"]


def _fill(template: str, values: dict[str, str]) -> str:
    filled = _VARIABLE.sub(lambda found: values.get(found[1], found[0]), template)
    if "{{" in filled:
        raise BadTemplate(f"name template {template!r}: only variables are understood")
    return filled
