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
from collections.abc import Mapping
from typing import Any

from streamops_sandbox.google.discovery import load
from streamops_sandbox.google.errors import GoogleError, invalid, invalid_argument, not_modelled
from streamops_sandbox.google.projects import Project, check_labels, is_region
from streamops_sandbox.objects import Object

#: Versions of Kubernetes by channel, newest first.
CHANNELS = {
    "RAPID": ("1.36.1-gke.1200", "1.35.4-gke.1400"),
    "REGULAR": ("1.35.4-gke.1400", "1.34.6-gke.1300"),
    "STABLE": ("1.34.6-gke.1300", "1.33.9-gke.1100"),
    "EXTENDED": ("1.35.4-gke.1400", "1.34.6-gke.1300", "1.33.9-gke.1100"),
}
#: The channel of clusters that name none.
_CHANNEL = "REGULAR"
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
_CIDR = re.compile(r"\d{1,3}(\.\d{1,3}){3}/\d{1,2}")

#: What ClusterUpdate has at its top level, and Cluster in its networkConfig.
_NETWORK_UPDATES = ("defaultEnablePrivateNodes", "dnsConfig", "gatewayApiConfig")
#: Fields that only go together with others, or that turn nothing on by themselves.
_COMPANIONS = {"etag"}


def new_cluster(wanted: Object, project: Project, location: str) -> Object:
    """The cluster as GKE completes it; INVALID_ARGUMENT where it would refuse."""
    cluster = copy.deepcopy(wanted)
    name = cluster.get("name", "")
    if not _NAME.fullmatch(name):
        raise invalid(
            "cluster.name",
            f'Invalid value for field "cluster.name": "{name}". Must be a match of regex'
            " '(?:[a-z](?:[-a-z0-9]{0,38}[a-z0-9])?)'.",
        )
    for field in ("status", "masterAuth", "zone"):
        if cluster.get(field):
            raise not_modelled(f"cluster.{field} of a new cluster")
    check_labels("resource_labels", cluster.get("resourceLabels", {}))
    _check_pool(cluster.get("workloadIdentityConfig", {}), project)
    if cluster.get("autopilot", {}).get("enabled"):
        _make_autopilot(cluster, project, location)
    else:
        _make_standard(cluster)
    _check_endpoints(cluster)
    channel = cluster.setdefault("releaseChannel", {"channel": _CHANNEL}).get("channel", "")
    version = _offered(channel, cluster.get("initialClusterVersion", ""))
    cluster["initialClusterVersion"] = cluster["currentMasterVersion"] = version
    cluster["currentNodeVersion"] = version
    zones = [f"{location}-b", f"{location}-c", f"{location}-d"]
    cluster.setdefault("locations", zones if is_region(location) else [location])
    cluster.setdefault("network", "default")
    cluster.setdefault("subnetwork", "default")
    cluster.setdefault("clusterIpv4Cidr", "10.116.0.0/17")
    cluster.setdefault("servicesIpv4Cidr", "34.118.224.0/20")
    cluster.setdefault("databaseEncryption", {"state": "DECRYPTED", "currentState": "DECRYPTED"})
    cluster.setdefault("shieldedNodes", {"enabled": True})
    network = cluster.setdefault("networkConfig", {})
    network.setdefault("network", f"projects/{project.project_id}/global/networks/default")
    cluster["maintenancePolicy"] = _with_version(cluster.get("maintenancePolicy", {}))
    cluster["labelFingerprint"] = fingerprint(cluster.get("resourceLabels", {}))
    return cluster


def updated(cluster: Object, update: Object, project: Project) -> Object:
    """A copy of the cluster with an update.

    Exactly one field may be desired at a time; some cannot be changed at all.
    """
    desired = [name for name in update if name not in _COMPANIONS]
    if len(desired) != 1:
        raise invalid_argument(
            "Must specify exactly one field to update."
            + (f" Got: {', '.join(sorted(desired))}." if desired else "")
        )
    name = desired[0]
    if name == "desiredMasterVersion":
        return _upgraded(cluster, update[name])
    field = name.removeprefix("desired")
    field = field[0].lower() + field[1:]
    within = "networkConfig" if field in _NETWORK_UPDATES else ""
    if not within and field not in load("container", "v1").schemas["Cluster"]["properties"]:
        raise not_modelled(f"the update {name}")
    value = update[name]
    result = copy.deepcopy(cluster)
    autopilot = cluster.get("autopilot", {}).get("enabled", False)
    if name == "desiredWorkloadIdentityConfig":
        _check_pool(value, project)
        if autopilot and not value.get("workloadPool"):
            raise invalid_argument("Autopilot clusters cannot disable Workload Identity.")
    if name == "desiredReleaseChannel" and autopilot and value.get("channel") == "UNSPECIFIED":
        raise invalid_argument("Autopilot clusters must have a release channel.")
    place = result.setdefault(within, {}) if within else result
    merge = name == "desiredControlPlaneEndpointsConfig"
    place[field] = _merged(place.get(field, {}), value) if merge else value
    _check_endpoints(result)
    return result


def server_config() -> Object:
    """What a location offers."""
    every = sorted({version for offered in CHANNELS.values() for version in offered}, reverse=True)
    return {
        "defaultClusterVersion": CHANNELS[_CHANNEL][0],
        "validMasterVersions": every,
        "validNodeVersions": every,
        "channels": [
            {"channel": channel, "defaultVersion": offered[0], "validVersions": list(offered)}
            for channel, offered in CHANNELS.items()
        ],
    }


def _offered(channel: str, wanted: str) -> str:
    """Return the newest version of a channel that an alias such as 1.35 means; "" and "-" are the default."""
    for version in CHANNELS.get(channel, CHANNELS[_CHANNEL]):
        if wanted in ("", "-", "latest", version) or version.startswith(
            (f"{wanted}.", f"{wanted}-")
        ):
            return version
    raise invalid_argument(
        f'Version "{wanted}" is invalid: master version "{wanted}" is unsupported.'
    )


def _upgraded(cluster: Object, wanted: str) -> Object:
    """Return a copy of the cluster with another version of its control plane."""
    version = _offered(cluster["releaseChannel"].get("channel", ""), wanted)
    now, then = (int(text.split(".")[1]) for text in (cluster["currentMasterVersion"], version))
    if not now <= then <= now + 1:
        raise invalid_argument(
            f'Master cannot be upgraded to "{version}": cannot upgrade the master more than one minor'
            " version at a time, or downgrade it."
        )
    return {**cluster, "currentMasterVersion": version}


def with_labels(cluster: Object, labels: dict[str, str], given: str) -> Object:
    """A copy of the cluster with other labels; the fingerprint has to be the current one."""
    if given != cluster["labelFingerprint"]:
        raise GoogleError(
            "FAILED_PRECONDITION",
            "Labels could not be set due to fingerprint mismatch.",
            code=412,
        )
    check_labels("resource_labels", labels)
    return {**cluster, "resourceLabels": labels, "labelFingerprint": fingerprint(labels)}


def with_maintenance(cluster: Object, policy: Object) -> Object:
    """A copy of the cluster with another maintenance policy; its resourceVersion has to be current."""
    given = policy.get("resourceVersion", "")
    current = cluster["maintenancePolicy"]
    if given != current["resourceVersion"]:
        raise GoogleError(
            "FAILED_PRECONDITION",
            "Maintenance policy could not be updated due to a resource version mismatch.",
            code=412,
        )
    return {**cluster, "maintenancePolicy": _with_version(policy)}


def new_node_pool(wanted: Object, cluster: Object) -> Object:
    """A node pool as GKE completes it."""
    pool = copy.deepcopy(wanted)
    if not _NAME.fullmatch(pool.get("name", "")):
        raise invalid(
            "node_pool.name", f'Invalid value for field "node_pool.name": "{pool.get("name")}".'
        )
    scaling = pool.get("autoscaling", {})
    if scaling.get("enabled"):
        low, high = scaling.get("minNodeCount", 0), scaling.get("maxNodeCount", 0)
        total = scaling.get("totalMaxNodeCount", 0)
        if not total and (high < 1 or low > high):
            raise invalid(
                "node_pool.autoscaling",
                f"NodePool.autoscaling.max_node_count must be >= min_node_count and > 0; got"
                f" {low} and {high}.",
            )
    config = pool.setdefault("config", {})
    config.setdefault("machineType", "e2-medium")
    config.setdefault("imageType", "COS_CONTAINERD")
    config.setdefault("serviceAccount", "default")
    pool.setdefault("management", {"autoUpgrade": True, "autoRepair": True})
    pool.setdefault("version", cluster.get("currentMasterVersion", CHANNELS[_CHANNEL][0]))
    pool.setdefault("initialNodeCount", 1)
    pool["status"] = "RUNNING"
    return pool


def fingerprint(value: Any) -> str:
    """What tells one version of a value from another."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def etag(cluster: Object) -> str:
    """The cluster's etag."""
    return base64.b64encode(fingerprint(cluster).encode()).decode()


def _make_autopilot(cluster: Object, project: Project, location: str) -> None:
    if not is_region(location):
        raise invalid_argument("Autopilot clusters must be regional clusters.")
    for field in ("nodePools", "nodeConfig", "initialNodeCount"):
        if cluster.get(field):
            raise invalid_argument(f"Autopilot clusters do not support setting {field}.")
    cluster["workloadIdentityConfig"] = {"workloadPool": project.workload_pool}
    cluster["nodePools"] = []
    cluster.setdefault("verticalPodAutoscaling", {"enabled": True})
    cluster["autoscaling"] = {
        "enableNodeAutoprovisioning": True,
        "autoscalingProfile": "OPTIMIZE_UTILIZATION",
    }


def _make_standard(cluster: Object) -> None:
    pools = cluster.get("nodePools", [])
    count = cluster.get("initialNodeCount", 0)
    if pools and count:
        raise invalid_argument(
            "Cluster.initial_node_count and Cluster.node_pools are mutually exclusive."
        )
    if not pools and count < 1:
        raise invalid_argument("Cluster.initial_node_count must be greater than zero.")
    if not pools:
        config = cluster.get("nodeConfig", {})
        pools = [{"name": "default-pool", "initialNodeCount": count, "config": config}]
    cluster["nodePools"] = [new_node_pool(pool, cluster) for pool in pools]


def _check_pool(config: Mapping[str, Any], project: Project) -> None:
    pool = config.get("workloadPool")
    if pool and pool != project.workload_pool:
        raise invalid(
            "workload_identity_config.workload_pool",
            f"The workload pool has to be {project.workload_pool}, not {pool}.",
        )


def _check_endpoints(cluster: Mapping[str, Any]) -> None:
    ip = cluster.get("controlPlaneEndpointsConfig", {}).get("ipEndpointsConfig", {})
    for config in (
        cluster.get("masterAuthorizedNetworksConfig", {}),
        ip.get("authorizedNetworksConfig", {}),
    ):
        for block in config.get("cidrBlocks", []):
            if not _CIDR.fullmatch(block.get("cidrBlock", "")):
                raise invalid("cidr_block", f"Invalid CIDR block: {block.get('cidrBlock')!r}")


def _merged(old: Any, new: Any) -> Any:
    """Fields of messages that an update leaves out stay as they are."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}


def _with_version(policy: Object) -> Object:
    rest = {key: value for key, value in policy.items() if key != "resourceVersion"}
    return {**rest, "resourceVersion": fingerprint(rest)}
