"""Service (ksvc): one Configuration and one Route of the same name, and their state summed up."""

from __future__ import annotations

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Object, owner_reference
from streamops_sandbox.knative.conditions import Conditions, find
from streamops_sandbox.knative.reconciler import NotOwned, Reconciler, ensure
from streamops_sandbox.knative.serving import names


class ServiceReconciler(Reconciler):
    """Reconciles `serving.knative.dev/v1` Services."""

    api_version = names.API
    kind = "Service"
    dependents = ("ConfigurationsReady", "RoutesReady")

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._configurations = self.watch_owned(
            client.informer(names.API, "Configuration"), "Service"
        )
        self._routes = self.watch_owned(client.informer(names.API, "Route"), "Service")

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Create or update both children and copy what they say."""
        name, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
        template = obj["spec"]["template"]
        current = self._configurations.get(name, namespace)
        try:
            configuration = await self._child(obj, current, "Configuration", {"template": template})
        except NotOwned as error:
            conditions.false("ConfigurationsReady", "NotOwned", str(error))
            raise
        self._from_configuration(obj, configuration, conditions)
        traffic = [self._target(name, target) for target in obj["spec"].get("traffic") or []]
        try:
            route = await self._child(
                obj, self._routes.get(name, namespace), "Route", {"traffic": traffic}
            )
        except NotOwned as error:
            conditions.false("RoutesReady", "NotOwned", str(error))
            raise
        self._from_route(obj, route, conditions)

    async def _child(self, obj: Object, current: Object | None, kind: str, spec: Object) -> Object:
        metadata = obj["metadata"]
        labels = {
            **(metadata.get("labels") or {}),
            names.SERVICE: metadata["name"],
            names.SERVICE_UID: metadata["uid"],
        }
        desired = {
            "apiVersion": names.API,
            "kind": kind,
            "metadata": {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "labels": labels,
                "annotations": names.inherited(metadata.get("annotations")),
                "ownerReferences": [owner_reference(obj)],
            },
            "spec": spec,
        }
        return await ensure(self.client, current, desired, replace=["spec"])

    @staticmethod
    def _target(name: str, target: Object) -> Object:
        if target.get("revisionName"):
            return target
        return {**target, "configurationName": name}

    @staticmethod
    def _from_configuration(obj: Object, configuration: Object, conditions: Conditions) -> None:
        state = configuration.get("status") or {}
        for field in ("latestCreatedRevisionName", "latestReadyRevisionName"):
            if state.get(field):
                obj["status"][field] = state[field]
        _propagate(conditions, "ConfigurationsReady", configuration)

    @staticmethod
    def _from_route(obj: Object, route: Object, conditions: Conditions) -> None:
        state = route.get("status") or {}
        for field in ("url", "address"):
            if state.get(field):
                obj["status"][field] = state[field]
        obj["status"]["traffic"] = [
            {k: v for k, v in target.items() if k != "configurationName"}
            for target in state.get("traffic") or []
        ]
        _propagate(conditions, "RoutesReady", route)


def _propagate(conditions: Conditions, kind: str, child: Object) -> None:
    """Copy a child's Ready, unless it has not seen its latest generation yet."""
    state = child.get("status") or {}
    if state.get("observedGeneration") != child["metadata"].get("generation"):
        conditions.unknown(
            kind, "OutOfDate", f"the {child['kind']} is still working to reflect the latest state"
        )
    else:
        conditions.mirror(kind, find(child), absent=("Deploying", ""))
