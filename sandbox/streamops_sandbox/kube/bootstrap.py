"""What exists in a new cluster: namespaces, the API's own Service, RBAC policy."""

from __future__ import annotations

import uuid
from typing import Any

from streamops_sandbox.kube import clock
from streamops_sandbox.kube.api import Api
from streamops_sandbox.kube.bootstrap_policy import cluster_role_bindings, cluster_roles, roles
from streamops_sandbox.kube.kinds.clusterroles import aggregate

Json = dict[str, Any]
_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


def fill(api: Api, *, address: str, port: int, service_ip: str) -> None:
    """Put the initial objects into an empty storage."""
    for name in _NAMESPACES:
        obj = _object("v1", "Namespace", name)
        obj["metadata"]["labels"] = {"kubernetes.io/metadata.name": name}
        obj["spec"] = {"finalizers": ["kubernetes"]}
        obj["status"] = {"phase": "Active"}
        api.store.put("namespaces", obj)
    _kubernetes_service(api, address, port, service_ip)
    for obj in [*cluster_roles(), *roles(), *cluster_role_bindings()]:
        _finish(obj)
        plural = {
            "ClusterRole": "clusterroles",
            "ClusterRoleBinding": "clusterrolebindings",
            "Role": "roles",
            "RoleBinding": "rolebindings",
        }[obj["kind"]]
        api.store.put(f"{plural}.rbac.authorization.k8s.io", obj)
    aggregate(api)


def _object(api_version: str, kind: str, name: str, namespace: str = "") -> Json:
    metadata: Json = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    return _finish({"apiVersion": api_version, "kind": kind, "metadata": metadata})


def _finish(obj: Json) -> Json:
    obj["metadata"]["uid"] = str(uuid.uuid4())
    obj["metadata"]["creationTimestamp"] = clock.now()
    return obj


def _kubernetes_service(api: Api, address: str, port: int, service_ip: str) -> None:
    labels = {"component": "apiserver", "provider": "kubernetes"}
    service = _object("v1", "Service", "kubernetes", "default")
    service["metadata"]["labels"] = labels
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
    api.store.put("services", service)
    endpoints = _object("v1", "Endpoints", "kubernetes", "default")
    endpoints["metadata"]["labels"] = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    endpoints["subsets"] = [
        {
            "addresses": [{"ip": address}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }
    ]
    api.store.put("endpoints", endpoints)
    part = _object("discovery.k8s.io/v1", "EndpointSlice", "kubernetes", "default")
    part["metadata"]["labels"] = {"kubernetes.io/service-name": "kubernetes"}
    part["metadata"]["generation"] = 1
    part |= {
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }
    api.store.put("endpointslices.discovery.k8s.io", part)
