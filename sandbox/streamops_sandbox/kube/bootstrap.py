"""What exists in a new cluster: namespaces, the API's own Service, priority classes, RBAC policy."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import yaml

from streamops_sandbox.kube import builtin_schemas, clock, managed
from streamops_sandbox.kube.api import Api
from streamops_sandbox.kube.kinds.rbac import aggregate

Json = dict[str, Any]
_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_RBAC = "rbac.authorization.k8s.io"
_POLICY = Path(__file__).parent / "bootstrap_policy.yaml"
_CRITICAL = "Used for system critical pods that must "
_PRIORITIES = {
    "system-cluster-critical": (
        2000000000,
        f"{_CRITICAL}run in the cluster, but can be moved to another node if necessary.",
    ),
    "system-node-critical": (2000001000, f"{_CRITICAL}not be moved from their current node."),
}


def fill(api: Api, *, address: str, port: int, service_ip: str) -> None:
    """Put the initial objects into an empty storage."""
    for name in _NAMESPACES:
        obj = _object("v1", "Namespace", name)
        obj["metadata"]["labels"] = {"kubernetes.io/metadata.name": name}
        obj["spec"] = {"finalizers": ["kubernetes"]}
        obj["status"] = {"phase": "Active"}
        _put(api, "namespaces", obj)
    _kubernetes_service(api, address, port, service_ip)
    for name, (value, description) in _PRIORITIES.items():
        obj = _object("scheduling.k8s.io/v1", "PriorityClass", name)
        obj["metadata"]["generation"] = 1
        obj |= {
            "description": description,
            "preemptionPolicy": "PreemptLowerPriority",
            "value": value,
        }
        _put(api, "priorityclasses.scheduling.k8s.io", obj)
    _policy(api)


def _policy(api: Api) -> None:
    policy = yaml.safe_load(_POLICY.read_text())
    for name, role in policy["clusterRoles"].items():
        obj = _rbac("ClusterRole", name)
        if role.get("aggregateTo"):
            obj["metadata"]["labels"][f"{_RBAC}/aggregate-to-{role['aggregateTo']}"] = "true"
        obj["rules"] = role.get("rules") or []
        if role.get("aggregates"):
            labels = {f"{_RBAC}/aggregate-to-{name}": "true"}
            obj["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": labels}]}
        _put(api, f"clusterroles.{_RBAC}", obj)
    for namespace, roles in policy["roles"].items():
        for name, role in roles.items():
            _put(api, f"roles.{_RBAC}", {**_rbac("Role", name, namespace), **role})
    for name, groups in policy["clusterRoleBindings"].items():
        obj = _rbac("ClusterRoleBinding", name)
        obj["roleRef"] = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name}
        obj["subjects"] = [{"apiGroup": _RBAC, "kind": "Group", "name": group} for group in groups]
        _put(api, f"clusterrolebindings.{_RBAC}", obj)
    aggregate(api)


def _rbac(kind: str, name: str, namespace: str = "") -> Json:
    obj = _object(f"{_RBAC}/v1", kind, name, namespace)
    obj["metadata"]["labels"] = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    obj["metadata"]["annotations"] = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
    return obj


def _object(api_version: str, kind: str, name: str, namespace: str = "") -> Json:
    metadata: Json = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = clock.now()
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def _put(api: Api, collection: str, obj: Json) -> None:
    """Store an object, owned by the API server."""
    group, _, version = obj["apiVersion"].rpartition("/")
    schema = builtin_schemas.definitions().of_kind((group, version, obj["kind"]))
    owner = managed.Manager("kube-apiserver", managed.UPDATE, obj["apiVersion"])
    api.store.put(collection, managed.track_update(None, obj, owner, schema, has_status=True))


def _kubernetes_service(api: Api, address: str, port: int, service_ip: str) -> None:
    service = _object("v1", "Service", "kubernetes", "default")
    service["metadata"]["labels"] = {"component": "apiserver", "provider": "kubernetes"}
    service["spec"] = {
        "clusterIP": service_ip,
        "clusterIPs": [service_ip],
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
        "sessionAffinity": "None",
        "type": "ClusterIP",
    }
    service["status"] = {"loadBalancer": {}}
    _put(api, "services", service)
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    endpoints = _object("v1", "Endpoints", "kubernetes", "default")
    endpoints["metadata"]["labels"] = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    endpoints["subsets"] = [{"addresses": [{"ip": address}], "ports": ports}]
    _put(api, "endpoints", endpoints)
    part = _object("discovery.k8s.io/v1", "EndpointSlice", "kubernetes", "default")
    part["metadata"] |= {"labels": {"kubernetes.io/service-name": "kubernetes"}, "generation": 1}
    part |= {
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": ports,
    }
    _put(api, "endpointslices.discovery.k8s.io", part)
