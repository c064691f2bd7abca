"""Kinds by the strategy they have."""

from __future__ import annotations

from streamops_sandbox.kube.crds import CustomResourceDefinitions
from streamops_sandbox.kube.kinds import (
    core,
    networking,
    pods,
    policies,
    rbac,
    services,
    storage,
    webhook_configurations,
    workloads,
)
from streamops_sandbox.kube.kinds.strategy import Strategy


def strategies(*, service_network: str) -> dict[str, Strategy]:
    """Return the strategies by collection name."""
    webhooks = webhook_configurations.WebhookConfigurations
    return {
        "configmaps": core.ConfigMaps(),
        "endpoints": core.Endpoints(),
        "events": core.Events(),
        "limitranges": core.LimitRanges(),
        "namespaces": core.Namespaces(),
        "persistentvolumeclaims": storage.PersistentVolumeClaims(),
        "persistentvolumes": storage.PersistentVolumes(),
        "pods": pods.Pods(),
        "podtemplates": workloads.PodTemplates(),
        "replicationcontrollers": workloads.ReplicationControllers(),
        "resourcequotas": core.ResourceQuotas(),
        "secrets": core.Secrets(),
        "serviceaccounts": core.ReturnedWhenDeleted(),
        "services": services.Services(service_network),
        "customresourcedefinitions.apiextensions.k8s.io": CustomResourceDefinitions(),
        "mutatingwebhookconfigurations.admissionregistration.k8s.io": webhooks(mutating=True),
        "validatingwebhookconfigurations.admissionregistration.k8s.io": webhooks(mutating=False),
        "daemonsets.apps": workloads.DaemonSets(),
        "deployments.apps": workloads.Deployments(),
        "replicasets.apps": workloads.ReplicaSets(),
        "statefulsets.apps": workloads.StatefulSets(),
        "horizontalpodautoscalers.autoscaling": policies.HorizontalPodAutoscalers(),
        "cronjobs.batch": workloads.CronJobs(),
        "jobs.batch": workloads.Jobs(),
        "certificatesigningrequests.certificates.k8s.io": policies.SigningRequests(),
        "leases.coordination.k8s.io": policies.Leases(),
        "endpointslices.discovery.k8s.io": networking.EndpointSlices(),
        "ingresses.networking.k8s.io": networking.Ingresses(),
        "ingressclasses.networking.k8s.io": networking.IngressClasses(),
        "networkpolicies.networking.k8s.io": networking.NetworkPolicies(),
        "poddisruptionbudgets.policy": policies.DisruptionBudgets(),
        "priorityclasses.scheduling.k8s.io": policies.PriorityClasses(),
        "csidrivers.storage.k8s.io": core.ReturnedWhenDeleted(),
        "csinodes.storage.k8s.io": core.ReturnedWhenDeleted(),
        "storageclasses.storage.k8s.io": storage.StorageClasses(),
        "volumeattachments.storage.k8s.io": core.ReturnedWhenDeleted(),
        "roles.rbac.authorization.k8s.io": rbac.Roles(),
        "clusterroles.rbac.authorization.k8s.io": rbac.ClusterRoles(),
        "clusterrolebindings.rbac.authorization.k8s.io": rbac.RoleBindings(),
        "rolebindings.rbac.authorization.k8s.io": rbac.RoleBindings(),
    }
