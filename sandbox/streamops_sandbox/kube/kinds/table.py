"""Which kind has which strategy."""

from __future__ import annotations

from streamops_sandbox.kube.crds import CustomResourceDefinitions
from streamops_sandbox.kube.kinds import core, others, pods, services, storage, workloads
from streamops_sandbox.kube.kinds.clusterroles import ClusterRoles
from streamops_sandbox.kube.kinds.strategy import Strategy

_ADMISSION = "admissionregistration.k8s.io"
_RBAC = "rbac.authorization.k8s.io"


def strategies(*, service_network: str) -> dict[str, Strategy]:
    """Collection name → strategy."""
    return {
        "configmaps": core.ConfigMaps(),
        "endpoints": others.Endpoints(),
        "events": core.Events(),
        "namespaces": core.Namespaces(),
        "persistentvolumeclaims": storage.PersistentVolumeClaims(),
        "persistentvolumes": storage.PersistentVolumes(),
        "pods": pods.Pods(),
        "replicationcontrollers": workloads.ReplicationControllers(),
        "secrets": core.Secrets(),
        "services": services.Services(service_network),
        "customresourcedefinitions.apiextensions.k8s.io": CustomResourceDefinitions(),
        f"mutatingwebhookconfigurations.{_ADMISSION}": others.WebhookConfigurations(mutating=True),
        f"validatingwebhookconfigurations.{_ADMISSION}": others.WebhookConfigurations(
            mutating=False
        ),
        "daemonsets.apps": workloads.DaemonSets(),
        "deployments.apps": workloads.Deployments(),
        "replicasets.apps": workloads.ReplicaSets(),
        "statefulsets.apps": workloads.StatefulSets(),
        "horizontalpodautoscalers.autoscaling": others.HorizontalPodAutoscalers(),
        "cronjobs.batch": workloads.CronJobs(),
        "jobs.batch": workloads.Jobs(),
        "leases.coordination.k8s.io": others.Leases(),
        "endpointslices.discovery.k8s.io": others.EndpointSlices(),
        "ingresses.networking.k8s.io": others.Ingresses(),
        "ingressclasses.networking.k8s.io": others.Counted(),
        "networkpolicies.networking.k8s.io": others.NetworkPolicies(),
        "poddisruptionbudgets.policy": others.DisruptionBudgets(),
        "priorityclasses.scheduling.k8s.io": others.PriorityClasses(),
        "storageclasses.storage.k8s.io": storage.StorageClasses(),
        f"clusterroles.{_RBAC}": ClusterRoles(),
        f"clusterrolebindings.{_RBAC}": others.RoleBindings(),
        f"rolebindings.{_RBAC}": others.RoleBindings(),
    }
