"""Which groups, versions and resources there are: plain and aggregated discovery.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

import base64
import hashlib

from streamops_sandbox.kube.resources import Registry, Resource
from streamops_sandbox.objects import Object

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

#: Subresources that take or answer with a kind of another group: (group, version, kind).
_SUBRESOURCE_KINDS = {
    "scale": ("autoscaling", "v1", "Scale"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
    "eviction": ("policy", "v1", "Eviction"),
    "binding": ("", "v1", "Binding"),
    "log": ("", "v1", "Pod"),
    "exec": ("", "v1", "PodExecOptions"),
    "attach": ("", "v1", "PodAttachOptions"),
    "portforward": ("", "v1", "PodPortForwardOptions"),
}
_SUBRESOURCE_VERBS = {
    "log": ("get",),
    "token": ("create",),
    "eviction": ("create",),
    "binding": ("create",),
    "finalize": ("update",),
    "approval": ("get", "patch", "update"),
    "proxy": ("create", "delete", "get", "patch", "update"),
    "exec": ("create", "get"),
    "attach": ("create", "get"),
    "portforward": ("create", "get"),
}
#: The verbs of custom resources, in their order.
_CUSTOM_VERBS = (
    "delete", "deletecollection", "get", "list", "patch", "create", "update", "watch",
)  # fmt: skip
#: The order of the built-in groups; custom ones follow by name.
_GROUP_ORDER = (
    "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io",
    "authorization.k8s.io", "autoscaling", "batch", "certificates.k8s.io", "networking.k8s.io",
    "policy", "rbac.authorization.k8s.io", "storage.k8s.io", "admissionregistration.k8s.io",
    "apiextensions.k8s.io", "scheduling.k8s.io", "coordination.k8s.io", "node.k8s.io",
    "discovery.k8s.io", "resource.k8s.io", "flowcontrol.apiserver.k8s.io",
)  # fmt: skip


def subresource_verbs(name: str) -> tuple[str, ...]:
    """Return the verbs of a subresource."""
    return _SUBRESOURCE_VERBS.get(name, ("get", "patch", "update"))


def _subresource_kind(resource: Resource, name: str) -> tuple[str, str, str]:
    if name == "proxy":
        return ("", "v1", f"{resource.kind}ProxyOptions")
    return _SUBRESOURCE_KINDS.get(name, (resource.group, resource.version, resource.kind))


def resource_list(registry: Registry, group: str, version: str) -> Object:
    """`APIResourceList` of one group and version."""
    items: list[Object] = []
    for resource in registry.in_version(group, version):
        items.append(_plain(resource))
        items += [_plain_subresource(resource, name) for name in resource.subresources]
    return {
        "kind": "APIResourceList",
        **({"apiVersion": "v1"} if group else {}),
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": items,
    }


def _plain(resource: Resource) -> Object:
    item: Object = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(_CUSTOM_VERBS if resource.custom else resource.verbs),
        **_names(resource),
    }
    if "list" in resource.verbs and resource.kind != "ComponentStatus":
        item["storageVersionHash"] = _storage_hash(resource)
    return item


def _names(resource: Resource) -> Object:
    names = {"shortNames": resource.short_names, "categories": resource.categories}
    return {key: list(value) for key, value in names.items() if value}


def _storage_hash(resource: Resource) -> str:
    group, _, version = resource.storage_version.rpartition("/")
    if resource.plural.startswith(("customresourcedefinitions", "mutatingadmissionpolic")):
        version = "v1beta1"  # what a real server still keeps them in
    digest = hashlib.sha256(f"{group}/{version}/{resource.kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def _plain_subresource(resource: Resource, name: str) -> Object:
    group, version, kind = _subresource_kind(resource, name)
    own = (group, version) == (resource.group, resource.version)
    return {
        "name": f"{resource.plural}/{name}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": kind,
        "verbs": list(subresource_verbs(name)),
        **({} if own else {"group": group, "version": version}),
    }


def group(name: str, versions: list[str]) -> Object:
    """`APIGroup`."""
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def _groups(registry: Registry) -> dict[str, list[str]]:
    """Return the groups with their versions, in the real server's order; without the core."""
    found = registry.group_versions()
    custom = sorted(name for name in found if name and name not in _GROUP_ORDER)
    return {name: found[name] for name in (*_GROUP_ORDER, *custom) if name in found}


def group_list(registry: Registry) -> Object:
    """`APIGroupList`, answered at /apis."""
    groups = [group(name, versions) for name, versions in _groups(registry).items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def core_versions(address: str) -> Object:
    """`APIVersions`, answered at /api."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def aggregated(registry: Registry, *, core: bool) -> Object:
    """`APIGroupDiscoveryList`: everything in one answer (apidiscovery.k8s.io/v2)."""
    items = []
    for name, versions in ({"": ["v1"]} if core else _groups(registry)).items():
        served = [
            {
                "version": version,
                "freshness": "Current",
                "resources": [_aggregated(one) for one in registry.in_version(name, version)],
            }
            for version in versions
        ]
        metadata = {"name": name, "creationTimestamp": None} if name else {}
        items.append({"metadata": metadata, "versions": served})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated(resource: Resource) -> Object:
    item: Object = {
        "resource": resource.plural,
        "responseKind": _response_kind(resource),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
        **_names(resource),
    }
    if resource.subresources:
        item["subresources"] = [
            {
                "subresource": name,
                "responseKind": _response_kind(resource, name),
                "verbs": list(subresource_verbs(name)),
            }
            for name in resource.subresources
        ]
    return item


def _response_kind(resource: Resource, subresource: str = "") -> Object:
    """Return the kind of an answer; a built-in one of the type's own group and version names neither."""
    group_name, version, kind = resource.group, resource.version, resource.kind
    if subresource:
        group_name, version, kind = _subresource_kind(resource, subresource)
    if not resource.custom and group_name in ("", resource.group):
        group_name = version = ""
    return {"group": group_name, "version": version, "kind": kind}
