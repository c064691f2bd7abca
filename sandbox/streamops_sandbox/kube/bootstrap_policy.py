"""The default roles and bindings (kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy).

Only those that something in a sandbox cluster can need: the user-facing roles with their
aggregation, and the discovery roles. System components of the sandbox use `system:masters` or
their own ServiceAccounts with what their manifests grant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

Json = dict[str, Any]

_GROUP = "rbac.authorization.k8s.io"
_VERSION = f"{_GROUP}/v1"
_BOOTSTRAP = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_AUTOUPDATE = {f"{_GROUP}/autoupdate": "true"}
_READ = ("get", "list", "watch")
_WRITE = ("create", "delete", "deletecollection", "patch", "update")


def _rule(groups: Sequence[str], resources: Sequence[str], verbs: Sequence[str]) -> Json:
    return {"apiGroups": list(groups), "resources": list(resources), "verbs": list(verbs)}


def _paths(*paths: str) -> Json:
    return {"nonResourceURLs": list(paths), "verbs": ["get"]}


def _metadata(name: str, labels: Json | None = None, namespace: str = "") -> Json:
    metadata: Json = {
        "name": name,
        "labels": {**_BOOTSTRAP, **(labels or {})},
        "annotations": dict(_AUTOUPDATE),
    }
    if namespace:
        metadata["namespace"] = namespace
    return metadata


def _role(name: str, rules: list[Json], labels: Json | None = None) -> Json:
    return {
        "apiVersion": _VERSION,
        "kind": "ClusterRole",
        "metadata": _metadata(name, labels),
        "rules": rules,
    }


def _aggregate_label(target: str) -> Json:
    return {f"{_GROUP}/aggregate-to-{target}": "true"}


def _aggregated(name: str, labels: Json | None = None) -> Json:
    role = _role(name, [], labels)
    role["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": _aggregate_label(name)}]}
    return role


_CORE_EDIT = (
    "configmaps", "events", "persistentvolumeclaims", "pods", "replicationcontrollers",
    "replicationcontrollers/scale", "secrets", "serviceaccounts", "services",
)  # fmt: skip
_CORE_VIEW = (
    "bindings", "configmaps", "endpoints", "events", "limitranges", "namespaces",
    "namespaces/status", "persistentvolumeclaims", "persistentvolumeclaims/status", "pods",
    "pods/log", "pods/status", "replicationcontrollers", "replicationcontrollers/scale",
    "replicationcontrollers/status", "resourcequotas", "resourcequotas/status",
    "serviceaccounts", "services", "services/status",
)  # fmt: skip
_APPS = (
    "daemonsets", "deployments", "deployments/rollback", "deployments/scale", "replicasets",
    "replicasets/scale", "statefulsets", "statefulsets/scale",
)  # fmt: skip
_APPS_VIEW = (
    "controllerrevisions", "daemonsets", "daemonsets/status", "deployments", "deployments/scale",
    "deployments/status", "replicasets", "replicasets/scale", "replicasets/status",
    "statefulsets", "statefulsets/scale", "statefulsets/status",
)  # fmt: skip


def _admin_rules() -> list[Json]:
    return [
        _rule([_GROUP], ["rolebindings", "roles"], [*_READ, *_WRITE]),
        _rule(["authorization.k8s.io"], ["localsubjectaccessreviews"], ["create"]),
    ]


def _edit_rules() -> list[Json]:
    return [
        _rule([""], ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets",
                     "services/proxy"], _READ),
        _rule([""], ["serviceaccounts"], ["impersonate"]),
        _rule([""], ["pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"], _WRITE),
        _rule([""], ["pods/eviction"], ["create"]),
        _rule([""], [*_CORE_EDIT, "services/proxy"], _WRITE),
        _rule([""], ["serviceaccounts/token"], ["create"]),
        _rule(["apps"], _APPS, _WRITE),
        _rule(["autoscaling"], ["horizontalpodautoscalers"], _WRITE),
        _rule(["batch"], ["cronjobs", "jobs"], _WRITE),
        _rule(["policy"], ["poddisruptionbudgets"], _WRITE),
        _rule(["networking.k8s.io"], ["ingresses", "networkpolicies"], _WRITE),
        _rule(["coordination.k8s.io"], ["leases"], [*_READ, *_WRITE]),
    ]  # fmt: skip


def _view_rules() -> list[Json]:
    return [
        _rule([""], _CORE_VIEW, _READ),
        _rule(["discovery.k8s.io"], ["endpointslices"], _READ),
        _rule(["apps"], _APPS_VIEW, _READ),
        _rule(
            ["autoscaling"],
            ["horizontalpodautoscalers", "horizontalpodautoscalers/status"],
            _READ,
        ),
        _rule(["batch"], ["cronjobs", "cronjobs/status", "jobs", "jobs/status"], _READ),
        _rule(["policy"], ["poddisruptionbudgets", "poddisruptionbudgets/status"], _READ),
        _rule(["networking.k8s.io"], ["ingresses", "ingresses/status", "networkpolicies"], _READ),
    ]


def cluster_roles() -> Iterator[Json]:
    """The default ClusterRoles; rules of the aggregated ones are filled in by aggregation."""
    everything = _role("cluster-admin", [_rule(["*"], ["*"], ["*"])])
    everything["rules"].append({"nonResourceURLs": ["*"], "verbs": ["*"]})
    yield everything
    yield _aggregated("admin")
    yield _aggregated("edit", _aggregate_label("admin"))
    yield _aggregated("view", _aggregate_label("edit"))
    yield _role("system:aggregate-to-admin", _admin_rules(), _aggregate_label("admin"))
    yield _role("system:aggregate-to-edit", _edit_rules(), _aggregate_label("edit"))
    yield _role("system:aggregate-to-view", _view_rules(), _aggregate_label("view"))
    yield _role(
        "system:basic-user",
        [
            _rule(
                ["authorization.k8s.io"],
                ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
                ["create"],
            ),
            _rule(["authentication.k8s.io"], ["selfsubjectreviews"], ["create"]),
        ],
    )
    yield _role(
        "system:discovery",
        [
            _paths(
                "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi",
                "/openapi/*", "/readyz", "/version", "/version/",
            )
        ],
    )  # fmt: skip
    yield _role(
        "system:public-info-viewer",
        [_paths("/healthz", "/livez", "/readyz", "/version", "/version/")],
    )
    yield _role(
        "system:service-account-issuer-discovery",
        [_paths("/.well-known/openid-configuration", "/openid/v1/jwks")],
    )
    yield _role(
        "system:auth-delegator",
        [
            _rule(["authentication.k8s.io"], ["tokenreviews"], ["create"]),
            _rule(["authorization.k8s.io"], ["subjectaccessreviews"], ["create"]),
        ],
    )


def roles() -> Iterator[Json]:
    """The default namespaced roles."""
    yield {
        "apiVersion": _VERSION,
        "kind": "Role",
        "metadata": _metadata("extension-apiserver-authentication-reader", None, "kube-system"),
        "rules": [
            {
                **_rule([""], ["configmaps"], _READ),
                "resourceNames": ["extension-apiserver-authentication"],
            }
        ],
    }


def cluster_role_bindings() -> Iterator[Json]:
    """Who has the default roles."""
    pairs = {
        "cluster-admin": ["system:masters"],
        "system:basic-user": ["system:authenticated"],
        "system:discovery": ["system:authenticated"],
        "system:public-info-viewer": ["system:authenticated", "system:unauthenticated"],
        "system:service-account-issuer-discovery": ["system:serviceaccounts"],
    }
    for name, groups in pairs.items():
        yield {
            "apiVersion": _VERSION,
            "kind": "ClusterRoleBinding",
            "metadata": _metadata(name),
            "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": _GROUP, "kind": "Group", "name": name} for name in groups],
        }
