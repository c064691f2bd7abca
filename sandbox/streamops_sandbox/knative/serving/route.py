"""Route: traffic targets resolved to Revisions, an Ingress for them, and the names that lead there."""

from __future__ import annotations

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Key, Object, controller_of
from streamops_sandbox.informer import Informer
from streamops_sandbox.knative import configmaps
from streamops_sandbox.knative.conditions import Conditions, find, is_true
from streamops_sandbox.knative.reconciler import NotOwned, Reconciler, ensure
from streamops_sandbox.knative.serving import ingress, names
from streamops_sandbox.knative.serving.domains import BadTemplate, Domains


class RouteReconciler(Reconciler):
    """Reconciles Routes."""

    api_version = names.API
    kind = "Route"
    dependents = ("AllTrafficAssigned", "CertificateProvisioned", "IngressReady")

    def __init__(self, client: Client, config: Informer) -> None:
        super().__init__(client)
        self._config = config
        self._domains = Domains(config)
        config.subscribe(self.enqueue_all)
        self._configurations = self.watch(client.informer(names.API, "Configuration"), self._users)
        self._revisions = self.watch(client.informer(names.API, "Revision"), self._users)
        self._ingresses = self.watch_owned(client.informer(names.NETWORKING, "Ingress"), "Route")
        self._services = self.watch_owned(
            client.informer("v1", "Service", label_selector=names.ROUTE), "Route"
        )

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Assign traffic, then program the ingress."""
        status = obj["status"]
        try:
            self._name(obj)
        except BadTemplate as error:
            conditions.false("AllTrafficAssigned", "InvalidDomainTemplate", str(error))
            return
        targets = self._assign(obj, conditions)
        if targets is None:
            return
        status["traffic"] = [self._public(obj, target) for target in targets]
        conditions.true("AllTrafficAssigned")
        await self._label_revisions(obj, {target["revisionName"] for target in targets})
        self._certificates(obj, conditions)
        programmed = await self._ingress(obj, targets)
        await self._placeholders(obj, targets, programmed, conditions)

    def _name(self, obj: Object) -> None:
        local = self._domains.local(obj)[-1]
        host = local if self._domains.is_local(obj) else self._domains.external(obj)
        obj["status"]["url"] = f"http://{host}"
        obj["status"]["address"] = {"url": f"http://{local}"}

    def _assign(self, obj: Object, conditions: Conditions) -> list[Object] | None:
        """Return the targets with their Revisions' names; None where one has none yet."""
        targets = []
        for target in obj["spec"].get("traffic") or []:
            revision = self._revision_of(obj, target, conditions)
            if revision is None:
                return None
            targets.append({**target, "revisionName": revision})
        return targets

    def _revision_of(self, obj: Object, target: Object, conditions: Conditions) -> str | None:
        namespace = obj["metadata"]["namespace"]
        kind = "AllTrafficAssigned"
        if target.get("configurationName"):
            name = target["configurationName"]
            found = self._configurations.get(name, namespace)
            if found is None:
                message = f'Configuration "{name}" referenced in traffic not found.'
                conditions.false(kind, "ConfigurationMissing", message)
                return None
            latest: str | None = (found.get("status") or {}).get("latestReadyRevisionName")
            if latest is None:
                self._without_revision(str(name), find(found), conditions)
            return latest
        name = target["revisionName"]
        revision = self._revisions.get(name, namespace)
        if revision is None:
            message = f'Revision "{name}" referenced in traffic not found.'
            conditions.false(kind, "RevisionMissing", message)
        elif not is_true(revision):
            message = f'Revision "{name}" is not yet ready.'
            conditions.unknown(kind, "RevisionMissing", message)
        else:
            return str(name)
        return None

    @staticmethod
    def _without_revision(name: str, ready: Object | None, conditions: Conditions) -> None:
        if ready is not None and ready["status"] == "False":
            message = f'Configuration "{name}" does not have any ready Revision.'
            conditions.false("AllTrafficAssigned", "RevisionMissing", message)
        else:
            message = f'Configuration "{name}" is waiting for a Revision to become ready.'
            conditions.unknown("AllTrafficAssigned", "RevisionMissing", message)

    def _public(self, obj: Object, target: Object) -> Object:
        kept: Object = {
            k: target[k]
            for k in ("latestRevision", "percent", "revisionName", "tag")
            if k in target
        }
        if target.get("tag"):
            local = self._domains.local(obj, target["tag"])[-1]
            public = self._domains.external(obj, target["tag"])
            kept["url"] = f"http://{local if self._domains.is_local(obj) else public}"
        return kept

    def _certificates(self, obj: Object, conditions: Conditions) -> None:
        settings = configmaps.data(self._config, "config-network")
        if settings.get("external-domain-tls", "disabled").lower() == "enabled":
            message = "TLS for external domains is not modelled"
            conditions.false("CertificateProvisioned", "NotModelled", message)
        else:
            message = "external-domain-tls is not enabled"
            conditions.true("CertificateProvisioned", "TLSNotEnabled", message)

    async def _ingress(self, obj: Object, targets: list[Object]) -> Object:
        settings = configmaps.data(self._config, "config-network")
        desired = ingress.make(obj, targets, self._domains, settings)
        metadata = obj["metadata"]
        current = self._ingresses.get(metadata["name"], metadata["namespace"])
        return await ensure(self.client, current, desired, replace=["spec"])

    async def _placeholders(
        self, obj: Object, targets: list[Object], programmed: Object, conditions: Conditions
    ) -> None:
        """Give the Route's names inside the cluster to the ingress, once that is there."""
        state = programmed.get("status") or {}
        if state.get("observedGeneration") != programmed["metadata"].get("generation"):
            message = "Ingress has not yet been reconciled."
            conditions.unknown("IngressReady", "IngressNotConfigured", message)
            return
        conditions.mirror(
            "IngressReady",
            find(programmed),
            absent=("IngressNotConfigured", "Ingress has not yet been reconciled."),
        )
        balancers = (state.get("privateLoadBalancer") or {}).get("ingress") or []
        if not balancers:
            return
        tags = {target.get("tag") or "" for target in targets} | {""}
        for service in ingress.placeholders(obj, tags, balancers[0]["domainInternal"]):
            current = self._services.get(service["metadata"]["name"], obj["metadata"]["namespace"])
            try:
                await ensure(self.client, current, service)
            except NotOwned as error:
                conditions.false("IngressReady", "ServiceNotOwned", str(error))
                return
        await self._drop_services(obj, tags)

    async def _drop_services(self, obj: Object, tags: set[str]) -> None:
        kept = {ingress.service_name(obj, tag) for tag in tags}
        for service in self._services.list(obj["metadata"]["namespace"]):
            metadata = service["metadata"]
            owner = controller_of(service) or {}
            if owner.get("uid") == obj["metadata"]["uid"] and metadata["name"] not in kept:
                await self.client.delete("v1", "Service", metadata["name"], metadata["namespace"])

    async def _label_revisions(self, obj: Object, targeted: set[str]) -> None:
        """Note on Revisions which Routes lead to them: the autoscaler keeps those reachable."""
        route = obj["metadata"]["name"]
        for revision in self._revisions.list(obj["metadata"]["namespace"]):
            metadata = revision["metadata"]
            noted = (metadata.get("annotations") or {}).get(names.ROUTES, "")
            before = {name for name in noted.split(",") if name}
            wanted = before | {route} if metadata["name"] in targeted else before - {route}
            state = "active" if wanted else "reserve"
            current = (metadata.get("labels") or {}).get(names.ROUTING_STATE)
            if wanted == before and (current == state or route not in wanted):
                continue
            annotation = ",".join(sorted(wanted)) or None
            change = {
                "labels": {names.ROUTING_STATE: state},
                "annotations": {names.ROUTES: annotation},
            }
            await self.client.patch(
                names.API, "Revision", metadata["name"], metadata["namespace"], {"metadata": change}
            )

    def _users(self, changed: Object) -> list[Key]:
        """Return the Routes whose traffic refers to a Configuration or Revision."""
        metadata = changed["metadata"]
        field = "configurationName" if changed["kind"] == "Configuration" else "revisionName"
        return [
            (route["metadata"]["namespace"], route["metadata"]["name"])
            for route in self.objects.list(metadata["namespace"])
            if any(t.get(field) == metadata["name"] for t in route["spec"].get("traffic") or [])
        ]
