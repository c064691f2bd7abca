"""What GKE does to a cluster's description: checks, defaults, and updates of one field at a time.

https://cloud.google.com/kubernetes-engine/docs/reference/rest/v1/projects.locations.clusters. The
rules that the discovery document does not hold are here.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from streamops_sandbox.google.discovery import load
from streamops_sandbox.google.errors import GoogleError, invalid, invalid_argument, not_modelled
from streamops_sandbox.google.projects import Project, check_labels, is_region
from streamops_sandbox.objects import Object

_DEFAULTS = yaml.safe_load((Path(__file__).parent / "defaults.yaml").read_text(encoding="utf-8"))
_CHANNELS: dict[str, list[str]] = _DEFAULTS["channels"]
#: The channel of clusters that name none.
_CHANNEL = _DEFAULTS["cluster"]["releaseChannel"]["channel"]
_CIDR = re.compile(r"\d{1,3}(\.\d{1,3}){3}/\d{1,2}")
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")

#: What ClusterUpdate has at its top level, and Cluster in its networkConfig.
_NETWORK_UPDATES = ("defaultEnablePrivateNodes", "dnsConfig", "gatewayApiConfig")


def new_cluster(wanted: Object, project: Project, location: str) -> Object:
    """The cluster as GKE completes it; INVALID_ARGUMENT where it would refuse."""
    cluster = copy.deepcopy({**_DEFAULTS["cluster"], **wanted})
    _check_name("cluster", cluster)
    for field in ("status", "masterAuth", "zone"):
        if cluster.get(field):
            raise not_modelled(f"cluster.{field} of a new cluster")
    check_labels("resource_labels", cluster.get("resourceLabels", {}))
    _check_pool(cluster.get("workloadIdentityConfig", {}), project)
    version = _offered(cluster, cluster.get("initialClusterVersion", ""))
    for field in ("initialClusterVersion", "currentMasterVersion", "currentNodeVersion"):
        cluster[field] = version
    if cluster.get("autopilot", {}).get("enabled"):
        cluster = _autopilot(cluster, project, location)
    else:
        _make_standard(cluster)
    _check_blocks(cluster)
    zones = [f"{location}-b", f"{location}-c", f"{location}-d"]
    cluster.setdefault("locations", zones if is_region(location) else [location])
    network = cluster.setdefault("networkConfig", {})
    network.setdefault("network", f"projects/{project.project_id}/global/networks/default")
    cluster["maintenancePolicy"] = _with_version(cluster.get("maintenancePolicy", {}))
    cluster["labelFingerprint"] = _fingerprint(cluster.get("resourceLabels", {}))
    return cluster


def _updated(cluster: Object, body: Object, project: Project, _: str) -> Object:
    """A copy of the cluster with an update.

    Exactly one field may be desired at a time; some cannot be changed at all.
    """
    update = body.get("update", {})
    if update.get("etag") not in (None, etag(cluster)):
        raise GoogleError("ABORTED", "The etag does not match the current one.")
    desired = [name for name in update if name != "etag"]
    if len(desired) != 1:
        raise invalid_argument(
            f"Must specify exactly one field to update. Got: {', '.join(sorted(desired))}."
        )
    name, value = desired[0], update[desired[0]]
    if name == "desiredMasterVersion":
        return _upgraded(cluster, value)
    field = name.removeprefix("desired")
    field = field[0].lower() + field[1:]
    within = "networkConfig" if field in _NETWORK_UPDATES else ""
    if not within and field not in load("container", "v1").schemas["Cluster"]["properties"]:
        raise not_modelled(f"the update {name}")
    result = copy.deepcopy(cluster)
    if name == "desiredWorkloadIdentityConfig":
        _check_pool(value, project)
    place = result.setdefault(within, {}) if within else result
    merge = name == "desiredControlPlaneEndpointsConfig"
    place[field] = _merged(place.get(field, {}), value) if merge else value
    _check_blocks(result)
    return result


def server_config() -> Object:
    """What a location offers."""
    every = sorted({version for offered in _CHANNELS.values() for version in offered}, reverse=True)
    return {
        "defaultClusterVersion": _CHANNELS[_CHANNEL][0],
        "validMasterVersions": every,
        "validNodeVersions": every,
        "channels": [
            {"channel": channel, "defaultVersion": offered[0], "validVersions": offered}
            for channel, offered in _CHANNELS.items()
        ],
    }


def _offered(cluster: Object, wanted: str) -> str:
    """Return the newest version of its channel that an alias such as 1.35 means; "" and "-" are the default."""
    channel = cluster["releaseChannel"].get("channel", "")
    for version in _CHANNELS.get(channel, _CHANNELS[_CHANNEL]):
        begun = version.startswith((f"{wanted}.", f"{wanted}-"))
        if begun or wanted in ("", "-", "latest", version):
            return version
    problem = f'Version "{wanted}" is invalid: master version "{wanted}" is unsupported.'
    raise invalid_argument(problem)


def _upgraded(cluster: Object, wanted: str) -> Object:
    """Return a copy of the cluster with another version of its control plane."""
    version = _offered(cluster, wanted)
    now, then = (int(text.split(".")[1]) for text in (cluster["currentMasterVersion"], version))
    if not now <= then <= now + 1:
        raise invalid_argument(
            f'Master cannot be upgraded to "{version}": cannot upgrade the master more than one minor'
            " version at a time, or downgrade it."
        )
    return {**cluster, "currentMasterVersion": version}


def _with_labels(cluster: Object, body: Object, *_: Any) -> Object:
    """A copy of the cluster with other labels; the fingerprint has to be the current one."""
    labels = body.get("resourceLabels", {})
    if body.get("labelFingerprint", "") != cluster["labelFingerprint"]:
        problem = "Labels could not be set due to fingerprint mismatch."
        raise GoogleError("FAILED_PRECONDITION", problem, code=412)
    check_labels("resource_labels", labels)
    return {**cluster, "resourceLabels": labels, "labelFingerprint": _fingerprint(labels)}


def _with_maintenance(cluster: Object, body: Object, *_: Any) -> Object:
    """A copy of the cluster with another maintenance policy; its resourceVersion has to be current."""
    policy = body.get("maintenancePolicy", {})
    if policy.get("resourceVersion", "") != cluster["maintenancePolicy"]["resourceVersion"]:
        problem = "Maintenance policy could not be updated due to a resource version mismatch."
        raise GoogleError("FAILED_PRECONDITION", problem, code=412)
    return {**cluster, "maintenancePolicy": _with_version(policy)}


def _with_pool(cluster: Object, body: Object, *_: Any) -> Object:
    """A copy of the cluster with another node pool."""
    pool = _new_node_pool(body.get("nodePool", {}), cluster)
    if any(p["name"] == pool["name"] for p in cluster["nodePools"]):
        raise GoogleError("ALREADY_EXISTS", f"Already exists: {pool['name']}.")
    return {**cluster, "nodePools": [*cluster["nodePools"], pool]}


def _with_scaled_pool(cluster: Object, body: Object, _: Project, name: str) -> Object:
    """A copy of the cluster with other limits of a node pool."""
    scaling = body.get("autoscaling", {})
    _check_scaling(scaling)
    return _with_changed(cluster, name, {"autoscaling": scaling})


def _with_updated_pool(cluster: Object, body: Object, _: Project, name: str) -> Object:
    """A copy of the cluster with another machine type or workload metadata of a node pool."""
    config = {k: v for k, v in body.items() if k not in ("name", "etag", "nodeVersion")}
    if unknown := config.keys() - {"machineType", "workloadMetadataConfig", "imageType"}:
        raise not_modelled(f"the update {', '.join(sorted(unknown))} of a node pool")
    return _with_changed(cluster, name, {"config": config})


def _with_changed(cluster: Object, name: str, change: Object) -> Object:
    """A copy of the cluster with some fields of a node pool changed."""
    if all(pool["name"] != name for pool in cluster["nodePools"]):
        raise GoogleError("NOT_FOUND", f"Not found: {cluster['name']}/nodePools/{name}.")
    pools = [
        {**pool, **change, "config": {**pool["config"], **change.get("config", {})}}
        if pool["name"] == name
        else pool
        for pool in cluster["nodePools"]
    ]
    return {**cluster, "nodePools": pools}


#: What a method of `clusters` is called as an operation, and what it makes of a cluster: it is given
#: the body, the project, and the last part of the name.
CHANGES: dict[str, tuple[str, Callable[[Object, Object, Project, str], Object]]] = {
    "update": ("UPDATE_CLUSTER", _updated),
    "setResourceLabels": ("UPDATE_CLUSTER", _with_labels),
    "setMaintenancePolicy": ("UPDATE_CLUSTER", _with_maintenance),
    "nodePools.create": ("CREATE_NODE_POOL", _with_pool),
    "nodePools.setAutoscaling": ("UPGRADE_NODES", _with_scaled_pool),
    "nodePools.update": ("UPGRADE_NODES", _with_updated_pool),
}


def _new_node_pool(wanted: Object, cluster: Object) -> Object:
    """A node pool as GKE completes it."""
    pool = copy.deepcopy({**_DEFAULTS["nodePool"], **wanted})
    _check_name("node_pool", pool)
    _check_scaling(pool.get("autoscaling", {}))
    pool["config"] = {**_DEFAULTS["nodeConfig"], **pool.get("config", {})}
    pool.setdefault("version", cluster["currentMasterVersion"])
    pool["status"] = "RUNNING"
    return pool


def _fingerprint(value: Any) -> str:
    """What tells one version of a value from another."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def etag(cluster: Object) -> str:
    """The cluster's etag."""
    return base64.b64encode(_fingerprint(cluster).encode()).decode()


def _check_name(kind: str, obj: Object) -> None:
    if not _NAME.fullmatch(name := obj.get("name", "")):
        raise invalid(
            f"{kind}.name",
            f'Invalid value for field "{kind}.name": "{name}". Must be a match of regex'
            " '(?:[a-z](?:[-a-z0-9]{0,38}[a-z0-9])?)'.",
        )


def _autopilot(cluster: Object, project: Project, location: str) -> Object:
    if not is_region(location):
        raise invalid_argument("Autopilot clusters must be regional clusters.")
    for field in ("nodePools", "nodeConfig", "initialNodeCount"):
        if cluster.get(field):
            raise invalid_argument(f"Autopilot clusters do not support setting {field}.")
    identity = {"workloadIdentityConfig": {"workloadPool": project.workload_pool}}
    return {**cluster, **copy.deepcopy(_DEFAULTS["autopilot"]), **identity}


def _make_standard(cluster: Object) -> None:
    pools = cluster.get("nodePools", [])
    count = cluster.get("initialNodeCount", 0)
    if pools and count:
        problem = "Cluster.initial_node_count and Cluster.node_pools are mutually exclusive."
        raise invalid_argument(problem)
    if not pools:
        if count < 1:
            raise invalid_argument("Cluster.initial_node_count must be greater than zero.")
        config = cluster.get("nodeConfig", {})
        pools = [{"name": "default-pool", "initialNodeCount": count, "config": config}]
    cluster["nodePools"] = [_new_node_pool(pool, cluster) for pool in pools]


def _check_scaling(scaling: Mapping[str, Any]) -> None:
    low, high = scaling.get("minNodeCount", 0), scaling.get("maxNodeCount", 0)
    if scaling.get("enabled") and not scaling.get("totalMaxNodeCount") and not low <= high > 0:
        raise invalid(
            "node_pool.autoscaling",
            "NodePool.autoscaling.max_node_count must be >= min_node_count and > 0; got"
            f" {low} and {high}.",
        )


def _check_blocks(cluster: Mapping[str, Any]) -> None:
    ip = cluster.get("controlPlaneEndpointsConfig", {}).get("ipEndpointsConfig", {})
    former = cluster.get("masterAuthorizedNetworksConfig", {})
    for config in (former, ip.get("authorizedNetworksConfig", {})):
        for block in config.get("cidrBlocks", []):
            if not _CIDR.fullmatch(cidr := block.get("cidrBlock", "")):
                raise invalid("cidr_block", f"Invalid CIDR block: {cidr!r}")


def _check_pool(config: Mapping[str, Any], project: Project) -> None:
    pool = config.get("workloadPool")
    if pool and pool != project.workload_pool:
        raise invalid(
            "workload_identity_config.workload_pool",
            f"The workload pool has to be {project.workload_pool}, not {pool}.",
        )


def _merged(old: Any, new: Any) -> Any:
    """Fields of messages that an update leaves out stay as they are."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}


def _with_version(policy: Object) -> Object:
    rest = {key: value for key, value in policy.items() if key != "resourceVersion"}
    return {**rest, "resourceVersion": _fingerprint(rest)}
