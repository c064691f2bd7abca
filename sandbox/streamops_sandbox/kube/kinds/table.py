"""Kinds by the strategy they have."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from streamops_sandbox.kube import crds
from streamops_sandbox.kube.kinds import (
    core,
    declared,
    networking,  # noqa: F401 - its functions are called by their names
    pod_containers,  # noqa: F401 - likewise
    pod_environment,  # noqa: F401 - likewise
    pod_volumes,  # noqa: F401 - likewise
    pods,
    rbac,
    services,
    storage,
    webhook_configurations,  # noqa: F401 - likewise
    workloads,
)
from streamops_sandbox.kube.kinds.strategy import Strategy
from streamops_sandbox.objects import Object

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api


class CustomResources(Strategy):
    """Custom resources, whatever their definition: updates need a resourceVersion."""

    unconditional_update = False

    def __init__(self) -> None:
        super().__init__({"generation": True})

    def deleted(self, obj: Object, api: Api) -> None:
        """Let the definition go if this object was the last that its deletion waited for."""
        group = obj["apiVersion"].rpartition("/")[0]
        for resource in api.registry:
            if resource.group == group and resource.kind == obj["kind"]:
                crds.release(resource.collection, api)
                return


def strategies(*, service_network: str) -> dict[str, Strategy]:
    """Return the strategies by collection name."""
    classes: dict[str, Callable[[Object], Strategy]] = {
        "events": core.Events,
        "events.events.k8s.io": core.Events,
        "namespaces": core.Namespaces,
        "resourcequotas": core.ResourceQuotas,
        "secrets": core.Secrets,
        "persistentvolumeclaims": storage.Storage,
        "persistentvolumes": storage.Storage,
        "pods": pods.Pods,
        "services": partial(services.Services, network=service_network),
        "customresourcedefinitions.apiextensions.k8s.io": crds.CustomResourceDefinitions,
        "daemonsets.apps": workloads.DaemonSets,
        "deployments.apps": workloads.Workload,
        "replicasets.apps": workloads.Workload,
        "statefulsets.apps": workloads.Workload,
        "jobs.batch": workloads.Jobs,
        "clusterroles.rbac.authorization.k8s.io": rbac.ClusterRoles,
        "clusterrolebindings.rbac.authorization.k8s.io": rbac.RoleBindings,
        "rolebindings.rbac.authorization.k8s.io": rbac.RoleBindings,
    }
    return {
        collection: classes.get(collection, Strategy)(rules)
        for collection, rules in declared.kinds().items()
    }
