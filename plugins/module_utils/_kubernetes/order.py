"""Which kinds have to be there before which others."""

from __future__ import annotations

WAVES: tuple[frozenset[str], ...] = (
    frozenset({"Namespace", "PriorityClass", "RuntimeClass"}),
    frozenset({"CustomResourceDefinition", "StorageClass", "PersistentVolume"}),
    frozenset({"ServiceAccount", "ResourceQuota", "LimitRange"}),
    frozenset({"ClusterRole", "Role"}),
    frozenset({"ClusterRoleBinding", "RoleBinding"}),
    frozenset({"Secret", "ConfigMap", "PersistentVolumeClaim", "NetworkPolicy"}),
    frozenset({"Service", "EndpointSlice", "Endpoints", "IngressClass"}),
    frozenset(
        {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Pod", "ReplicationController"}
    ),
    frozenset({"HorizontalPodAutoscaler", "PodDisruptionBudget", "Ingress", "APIService"}),
    frozenset({"ValidatingAdmissionPolicy", "MutatingWebhookConfiguration"}),
    frozenset({"ValidatingWebhookConfiguration", "ValidatingAdmissionPolicyBinding"}),
)
_OF_KIND = {kind: number for number, wave in enumerate(WAVES) for kind in wave}
# What connects others: applied when both ends are there, and undone while they still are.
_CONNECTIONS = frozenset({"Subscription", "Trigger"})
_CONNECTING_GROUP = "sources.knative.dev"
# Groups whose kinds the table above is about: a custom "Service" (Knative's) is a custom resource.
_BUILT_IN = frozenset(
    {
        "",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "apps",
        "autoscaling",
        "batch",
        "discovery.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
    }
)


def wave(group: str, kind: str) -> int:
    """Return the number of the wave a kind is applied in; deleted in the reverse order.

    Custom resources come last, so their definitions, controllers and webhooks are there; Jobs come
    after the workloads whose data they migrate.
    """
    if group in _BUILT_IN:
        return _OF_KIND.get(kind, len(WAVES))
    if group == _CONNECTING_GROUP or kind in _CONNECTIONS:
        return len(WAVES) + 2
    return len(WAVES) + 1
