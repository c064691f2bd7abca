"""What exists in a new cluster: namespaces, the API's own Service, priority classes, RBAC policy."""

from __future__ import annotations

import uuid
from pathlib import Path

import yaml

from streamops_sandbox import timestamps
from streamops_sandbox.kube import builtin_schemas, managed
from streamops_sandbox.kube.api import Api
from streamops_sandbox.kube.kinds.rbac import aggregate
from streamops_sandbox.objects import Object

_RBAC = "rbac.authorization.k8s.io"
_FOLDER = Path(__file__).parent


def fill(api: Api, *, address: str, port: int, service_ip: str) -> None:
    """Put the initial objects into an empty storage."""
    text = (_FOLDER / "bootstrap.yaml").read_text()
    for name, value in (("SERVICE_IP", service_ip), ("ADDRESS", address), ("PORT", str(port))):
        text = text.replace(f" {name}", f" {value}").replace(f"[{name}", f"[{value}")
    for collection, objects in yaml.safe_load(text).items():
        for obj in objects:
            _put(api, collection, obj)
    _policy(api)


def _policy(api: Api) -> None:
    policy = yaml.safe_load((_FOLDER / "bootstrap_policy.yaml").read_text())
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
            _put(api, f"roles.{_RBAC}", {**_rbac("Role", name, namespace=namespace), **role})
    for name, groups in policy["clusterRoleBindings"].items():
        obj = _rbac("ClusterRoleBinding", name)
        obj["roleRef"] = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name}
        obj["subjects"] = [{"apiGroup": _RBAC, "kind": "Group", "name": group} for group in groups]
        _put(api, f"clusterrolebindings.{_RBAC}", obj)
    aggregate(api)


def _rbac(kind: str, name: str, **place: str) -> Object:
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    annotations = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
    metadata = {"name": name, **place, "labels": labels, "annotations": annotations}
    return {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": metadata}


def _put(api: Api, collection: str, obj: Object) -> None:
    """Store an object, owned by the API server."""
    obj["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": timestamps.now()}
    group, _, version = obj["apiVersion"].rpartition("/")
    schema = builtin_schemas.definitions().of_kind((group, version, obj["kind"]))
    owner = managed.Manager("kube-apiserver", managed.UPDATE, obj["apiVersion"])
    api.store.put(collection, managed.track_update(None, obj, owner, schema, has_status=True))
