"""Kubernetes' own resource types: those of the stable API versions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from streamops_sandbox.kube.builtin_schemas import definitions
from streamops_sandbox.kube.kinds import versions
from streamops_sandbox.kube.resources import ALL_VERBS, Resource

_CREATE = ("create",)
_READ = ("get", "list")
_STATUS = ("status",)
_SCALE = ("scale", "status")
_ALL = ("all",)
_API_EXTENSIONS = ("api-extensions",)

#: (kind, plural, namespaced, short names, categories, subresources, verbs)
_Row = tuple[str, str, bool, tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]


def _row(
    kind: str,
    plural: str,
    *,
    cluster: bool = False,
    short: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    sub: tuple[str, ...] = (),
    verbs: tuple[str, ...] = ALL_VERBS,
) -> _Row:
    return (kind, plural, not cluster, short, categories, sub, verbs)


_TYPES: dict[str, list[_Row]] = {
    "v1": [
        _row("Binding", "bindings", verbs=_CREATE),
        _row("ConfigMap", "configmaps", short=("cm",)),
        _row("Endpoints", "endpoints", short=("ep",)),
        _row("Event", "events", short=("ev",)),
        _row("LimitRange", "limitranges", short=("limits",)),
        _row("Namespace", "namespaces", cluster=True, short=("ns",), sub=("finalize", "status")),
        _row("Node", "nodes", cluster=True, short=("no",), sub=("proxy", "status")),
        _row("PersistentVolume", "persistentvolumes", cluster=True, short=("pv",), sub=_STATUS),
        _row("PersistentVolumeClaim", "persistentvolumeclaims", short=("pvc",), sub=_STATUS),
        _row(
            "Pod", "pods", short=("po",), categories=_ALL,
            sub=("attach", "binding", "ephemeralcontainers", "eviction", "exec", "log",
                 "portforward", "proxy", "resize", "status"),
        ),
        _row("PodTemplate", "podtemplates"),
        _row(
            "ReplicationController", "replicationcontrollers", short=("rc",), categories=_ALL,
            sub=_SCALE,
        ),
        _row("ResourceQuota", "resourcequotas", short=("quota",), sub=_STATUS),
        _row("Secret", "secrets"),
        _row("Service", "services", short=("svc",), categories=_ALL, sub=("proxy", "status")),
        _row("ServiceAccount", "serviceaccounts", short=("sa",), sub=("token",)),
    ],
    "admissionregistration.k8s.io/v1": [
        _row(
            "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", cluster=True,
            categories=_API_EXTENSIONS,
        ),
        _row(
            "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", cluster=True,
            categories=_API_EXTENSIONS,
        ),
    ],
    "apiextensions.k8s.io/v1": [
        _row(
            "CustomResourceDefinition", "customresourcedefinitions", cluster=True,
            short=("crd", "crds"), categories=_API_EXTENSIONS, sub=_STATUS,
        ),
    ],
    "apps/v1": [
        _row("ControllerRevision", "controllerrevisions"),
        _row("DaemonSet", "daemonsets", short=("ds",), categories=_ALL, sub=_STATUS),
        _row("Deployment", "deployments", short=("deploy",), categories=_ALL, sub=_SCALE),
        _row("ReplicaSet", "replicasets", short=("rs",), categories=_ALL, sub=_SCALE),
        _row("StatefulSet", "statefulsets", short=("sts",), categories=_ALL, sub=_SCALE),
    ],
    "authentication.k8s.io/v1": [
        _row("SelfSubjectReview", "selfsubjectreviews", cluster=True, verbs=_CREATE),
        _row("TokenReview", "tokenreviews", cluster=True, verbs=_CREATE),
    ],
    "authorization.k8s.io/v1": [
        _row("LocalSubjectAccessReview", "localsubjectaccessreviews", verbs=_CREATE),
        _row("SelfSubjectAccessReview", "selfsubjectaccessreviews", cluster=True, verbs=_CREATE),
        _row("SelfSubjectRulesReview", "selfsubjectrulesreviews", cluster=True, verbs=_CREATE),
        _row("SubjectAccessReview", "subjectaccessreviews", cluster=True, verbs=_CREATE),
    ],
    "autoscaling/v2": [
        _row(
            "HorizontalPodAutoscaler", "horizontalpodautoscalers", short=("hpa",),
            categories=_ALL, sub=_STATUS,
        ),
    ],
    "autoscaling/v1": [
        _row(
            "HorizontalPodAutoscaler", "horizontalpodautoscalers", short=("hpa",),
            categories=_ALL, sub=_STATUS,
        ),
    ],
    "batch/v1": [
        _row("CronJob", "cronjobs", short=("cj",), categories=_ALL, sub=_STATUS),
        _row("Job", "jobs", categories=_ALL, sub=_STATUS),
    ],
    "certificates.k8s.io/v1": [
        _row(
            "CertificateSigningRequest", "certificatesigningrequests", cluster=True, short=("csr",),
            sub=("approval", "status"),
        ),
    ],
    "coordination.k8s.io/v1": [_row("Lease", "leases")],
    "events.k8s.io/v1": [_row("Event", "events", short=("ev",))],
    "discovery.k8s.io/v1": [_row("EndpointSlice", "endpointslices")],
    "networking.k8s.io/v1": [
        _row("Ingress", "ingresses", short=("ing",), sub=_STATUS),
        _row("IngressClass", "ingressclasses", cluster=True),
        _row("IPAddress", "ipaddresses", cluster=True, short=("ip",)),
        _row("NetworkPolicy", "networkpolicies", short=("netpol",)),
        _row("ServiceCIDR", "servicecidrs", cluster=True, sub=_STATUS),
    ],
    "node.k8s.io/v1": [_row("RuntimeClass", "runtimeclasses", cluster=True)],
    "policy/v1": [
        _row("PodDisruptionBudget", "poddisruptionbudgets", short=("pdb",), sub=_STATUS),
    ],
    "rbac.authorization.k8s.io/v1": [
        _row("ClusterRole", "clusterroles", cluster=True),
        _row("ClusterRoleBinding", "clusterrolebindings", cluster=True),
        _row("Role", "roles"),
        _row("RoleBinding", "rolebindings"),
    ],
    "scheduling.k8s.io/v1": [
        _row("PriorityClass", "priorityclasses", cluster=True, short=("pc",)),
    ],
    "storage.k8s.io/v1": [
        _row("CSIDriver", "csidrivers", cluster=True),
        _row("CSINode", "csinodes", cluster=True),
        _row("CSIStorageCapacity", "csistoragecapacities"),
        _row("StorageClass", "storageclasses", cluster=True, short=("sc",)),
        _row("VolumeAttachment", "volumeattachments", cluster=True, sub=_STATUS),
        _row("VolumeAttributesClass", "volumeattributesclasses", cluster=True, short=("vac",)),
    ],
}  # fmt: skip

#: Versions that are not kept: collection, kept version, and the two conversions.
_SHARED = {
    "autoscaling/v1": (
        "horizontalpodautoscalers.autoscaling", "autoscaling/v2", versions.autoscaler_from_storage,
        versions.autoscaler_to_storage,
    ),
    "events.k8s.io/v1": (
        "events", "v1", versions.event_from_storage, versions.event_to_storage,
    ),
}  # fmt: skip
#: What users of deprecated types are warned with.
_DEPRECATED = {
    "endpoints": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
}
#: Fields that a field selector may name, besides metadata.name and metadata.namespace.
_SELECTABLE = {
    "pods": (
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
        "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName",
    ),
    "events": (
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name",
        "involvedObject.uid", "involvedObject.apiVersion", "involvedObject.resourceVersion",
        "involvedObject.fieldPath", "reason", "reportingComponent", "source", "type",
    ),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
    "namespaces": ("status.phase",),
    "nodes": ("spec.unschedulable",),
    "replicasets.apps": ("status.replicas",),
    "replicationcontrollers": ("status.replicas",),
    "jobs.batch": ("status.successful",),
    "certificatesigningrequests.certificates.k8s.io": ("spec.signerName",),
}  # fmt: skip


def builtin_resources() -> Iterator[Resource]:
    """Every built-in type."""
    for api_version, rows in _TYPES.items():
        group, _, version = api_version.rpartition("/")
        for kind, plural, namespaced, short, categories, sub, verbs in rows:
            gvk = (group, version, kind)
            resource = Resource(
                group=group,
                version=version,
                kind=kind,
                plural=plural,
                namespaced=namespaced,
                load_schema=partial(definitions().of_kind, gvk),
                short_names=short,
                categories=categories,
                verbs=verbs,
                subresources=sub,
                definition=definitions().definition_name(gvk),
            )
            resource.selectable_fields = _SELECTABLE.get(resource.collection, ())
            resource.deprecation = _DEPRECATED.get(resource.collection, "")
            shared = _SHARED.get(api_version)
            if shared is not None:
                resource.shared_collection, resource.storage_version = shared[:2]
                resource.from_storage, resource.to_storage = shared[2:]
            yield resource
