"""The settings of a GKE cluster: options of the module, fields of the API, and how each is changed.

https://cloud.google.com/kubernetes-engine/docs/reference/rest/v1/projects.locations.clusters. One
update call takes one field, so every setting that can be changed has a call of its own.
"""

from __future__ import annotations

import copy
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..._module.text import require_texts
from ..errors import ConfigError
from ..session import Session
from ..timestamps import check_times, is_time, moment
from . import versions

Json = dict[str, Any]

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
_LOCATION = re.compile(r"[a-z]+-[a-z]+\d+(-[a-f])?")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
#: Fields of the API's Cluster that have an option, and so are not passed through.
OWNED: Mapping[str, str] = {
    "autopilot": "autopilot",
    "description": "description",
    "initialClusterVersion": "kubernetes_version",
    "location": "location",
    "maintenancePolicy": "maintenance_window",
    "name": "name",
    "network": "network",
    "releaseChannel": "release_channel",
    "resourceLabels": "labels",
    "secretManagerConfig": "secret_manager_addon",
    "subnetwork": "subnetwork",
    "workloadIdentityConfig": "workload_identity",
}
#: Fields of the passthrough that can be changed -> what ClusterUpdate calls them.
PASSTHROUGH_UPDATES: Mapping[str, str] = {
    field: f"desired{field[0].upper()}{field[1:]}"
    for field in (
        "addonsConfig",
        "authenticatorGroupsConfig",
        "binaryAuthorization",
        "controlPlaneEndpointsConfig",
        "costManagementConfig",
        "databaseEncryption",
        "locations",
        "loggingConfig",
        "monitoringConfig",
        "notificationConfig",
        "securityPostureConfig",
        "shieldedNodes",
        "verticalPodAutoscaling",
    )
}


@dataclass(frozen=True)
class Setting:
    """One option: where its value is in the API's Cluster, and how it is changed.

    `update` makes the ClusterUpdate for a value; without it the setting cannot be changed.
    """

    option: str
    path: tuple[str, ...]
    update: Callable[[Any], Json] | None = None
    default: Any = None

    def of(self, cluster: Json) -> Any:
        """Return the cluster's value."""
        value: Any = cluster
        for part in self.path:
            value = value.get(part) if isinstance(value, Mapping) else None
        return self.default if value is None else value

    def put(self, cluster: Json, value: Any) -> None:
        """Set the value in a cluster that is to be created."""
        *parents, last = self.path
        for part in parents:
            cluster = cluster.setdefault(part, {})
        cluster[last] = value


SETTINGS: tuple[Setting, ...] = (
    Setting("autopilot", ("autopilot", "enabled"), default=False),
    Setting("description", ("description",), default=""),
    Setting("network", ("network",), default="default"),
    Setting("subnetwork", ("subnetwork",), default="default"),
    Setting("pods_range", ("ipAllocationPolicy", "clusterSecondaryRangeName")),
    Setting("services_range", ("ipAllocationPolicy", "servicesSecondaryRangeName")),
    Setting(
        "release_channel",
        ("releaseChannel", "channel"),
        lambda value: {"desiredReleaseChannel": {"channel": value}},
        default="UNSPECIFIED",
    ),
    Setting(
        "workload_pool",
        ("workloadIdentityConfig", "workloadPool"),
        lambda value: {"desiredWorkloadIdentityConfig": {"workloadPool": value}},
        default="",
    ),
    Setting(
        "private_nodes",
        ("networkConfig", "defaultEnablePrivateNodes"),
        lambda value: {"desiredDefaultEnablePrivateNodes": value},
        default=False,
    ),
    Setting(
        "authorized_networks",
        ("controlPlaneEndpointsConfig", "ipEndpointsConfig", "authorizedNetworksConfig"),
        lambda value: {
            "desiredControlPlaneEndpointsConfig": {
                "ipEndpointsConfig": {"authorizedNetworksConfig": value}
            }
        },
        default={},
    ),
    Setting(
        "dns_endpoint",
        ("controlPlaneEndpointsConfig", "dnsEndpointConfig", "allowExternalTraffic"),
        lambda value: {
            "desiredControlPlaneEndpointsConfig": {
                "dnsEndpointConfig": {"allowExternalTraffic": value}
            }
        },
        default=False,
    ),
    Setting(
        "secret_manager_addon",
        ("secretManagerConfig", "enabled"),
        lambda value: {"desiredSecretManagerConfig": {"enabled": value}},
        default=False,
    ),
)


def wanted_values(params: Json, session: Session) -> Json:
    """Return the settings that the options ask for, as the API writes them, by option."""
    wanted = {
        s.option: params[s.option]
        for s in SETTINGS
        if params.get(s.option) is not None
        and s.option not in ("workload_pool", "authorized_networks")
    }
    if params["workload_identity"] is not None and not params["autopilot"]:
        wanted["workload_pool"] = session.workload_pool if params["workload_identity"] else ""
    if params["authorized_networks"] is not None:
        wanted["authorized_networks"] = _authorized(params["authorized_networks"])
    return wanted


def same(setting: Setting, wanted: Any, current: Any) -> bool:
    """Return whether two values of a setting mean the same."""
    if setting.option in ("network", "subnetwork"):
        return bool(wanted.rpartition("/")[2] == current.rpartition("/")[2])
    if setting.option == "authorized_networks":
        return _networks(wanted) == _networks(current)
    return bool(wanted == current)


def covers(current: Any, wanted: Any) -> bool:
    """Return whether everything in `wanted` is in `current` too; what is empty may be missing."""
    if isinstance(wanted, Mapping):
        fields = current if isinstance(current, Mapping) else {}
        return all(covers(fields.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        items = current or []
        return len(items) == len(wanted) and all(map(covers, items, wanted))
    if is_time(current) and is_time(wanted):
        return moment(current) == moment(wanted)
    return bool(current == wanted) or (current is None and not wanted)


def overlaid(current: Any, wanted: Any) -> Any:
    """Return what results where fields that an update leaves out stay as they are."""
    if not isinstance(current, Mapping) or not isinstance(wanted, Mapping):
        return wanted
    return {**current, **{key: overlaid(current.get(key), v) for key, v in wanted.items()}}


def new_cluster(params: Json, wanted: Json) -> Json:
    """Return the body for creating the cluster."""
    cluster: Json = copy.deepcopy(params["cluster"] or {})
    cluster["name"] = params["name"]
    for setting in SETTINGS:
        value = wanted.get(setting.option)
        if value or (value is not None and setting.option == "autopilot"):
            setting.put(cluster, value)
    if "pods_range" in wanted or "services_range" in wanted:
        cluster["ipAllocationPolicy"]["useIpAliases"] = True
    if params["labels"]:
        cluster["resourceLabels"] = dict(params["labels"])
    if params["maintenance_window"]:
        cluster["maintenancePolicy"] = {"window": maintenance_window(params["maintenance_window"])}
    if not params["autopilot"] and not cluster.get("nodePools"):
        cluster["nodePools"] = [node_pool(params["node_pool"] or {}, params)]
    return cluster


def node_pool(options: Json, params: Json) -> Json:
    """Return the body of the one node pool of a Standard cluster."""
    low, high = _limits(options)
    config: Json = {
        "machineType": options.get("machine_type") or "e2-standard-4",
        "oauthScopes": ["https://www.googleapis.com/auth/cloud-platform"],
    }
    if options.get("spot"):
        config["spot"] = True
    if options.get("service_account"):
        config["serviceAccount"] = options["service_account"]
    if params["workload_identity"]:
        config["workloadMetadataConfig"] = {"mode": "GKE_METADATA"}
    return {
        "name": pool_name(options),
        "initialNodeCount": low,
        "autoscaling": {"enabled": True, "minNodeCount": low, "maxNodeCount": high},
        "config": config,
        "management": {"autoUpgrade": True, "autoRepair": True},
    }


def pool_name(options: Json) -> str:
    """Return the name of the node pool."""
    return options.get("name") or "default-pool"


def limits(options: Json, current: Json) -> Json | None:
    """Return the NodePoolAutoscaling asked for; None where neither limit is. One that is not stays."""
    low, high = options.get("min_nodes"), options.get("max_nodes")
    if low is None and high is None:
        return None
    low = current.get("minNodeCount", 0) if low is None else low
    high = current.get("maxNodeCount", max(low, 1)) if high is None else high
    if low > high:
        raise ConfigError(f"node_pool: min_nodes {low} is more than max_nodes {high}")
    return {"enabled": True, "minNodeCount": low, "maxNodeCount": high}


def _limits(options: Json) -> tuple[int, int]:
    """Fewest and most nodes of a new pool."""
    low, high = options.get("min_nodes"), options.get("max_nodes")
    low = min(1, 1 if high is None else high) if low is None else low
    return low, max(3, low) if high is None else high


def maintenance_window(options: Json) -> Json:
    """Return the API's MaintenanceWindow."""
    window = {"startTime": options["start"], "endTime": options["end"]}
    return {"recurringWindow": {"window": window, "recurrence": options["recurrence"]}}


def check_name(name: str, location: str) -> None:
    """Raise ConfigError for a name or a location that Google would refuse."""
    problems = _name_problems(name, location)
    if problems:
        raise ConfigError("; ".join(problems))


def _name_problems(name: str, location: str) -> list[str]:
    problems: list[str] = []
    if not _NAME.fullmatch(name):
        problems.append(
            f"name: '{name}' is not a valid cluster name: 1 to 40 lower-case letters, digits and hyphens, a"
            " letter first and no hyphen last"
        )
    if not _LOCATION.fullmatch(location):
        problems.append(f"location: '{location}' is neither a region (europe-west1) nor a zone")
    return problems


def check(params: Json) -> None:
    """Raise ConfigError naming everything that Google would refuse."""
    location, pool = params["location"], params["node_pool"] or {}
    require_texts("labels", params["labels"] or {}, ConfigError)
    problems = _name_problems(params["name"], location)
    problems += versions.check(params["kubernetes_version"] or "")
    if not problems and params["autopilot"] and location.count("-") == 2:
        region = location.rpartition("-")[0]
        problems.append(f"location: Autopilot clusters are regional: {region}, not {location}")
    if params["autopilot"] and params["node_pool"]:
        problems.append("node_pool: an Autopilot cluster has none; use autopilot: false")
    if params["autopilot"] and params["workload_identity"] is False:
        problems.append("workload_identity: an Autopilot cluster always has it")
    problems += [
        f"cluster.{field}: use the option {OWNED[field]}"
        for field in params["cluster"] or {}
        if field in OWNED
    ]
    for key, value in (params["labels"] or {}).items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            problems.append(
                f"labels: {key}={value}: lower-case letters, digits, - and _, at most 63 characters,"
                " the key with a letter first"
            )
    problems += [
        f"authorized_networks: '{network['cidr']}' is not a valid CIDR block (a.b.c.d/n)"
        for network in params["authorized_networks"] or []
        if not _is_cidr(network["cidr"])
    ]
    window = params["maintenance_window"] or {}
    problems += check_times(
        {f"maintenance_window.{name}": window.get(name) for name in ("start", "end")}
    )
    if pool and not _NAME.fullmatch(pool_name(pool)):
        problems.append(f"node_pool: '{pool_name(pool)}' is not a valid node pool name")
    low, high = _limits(pool)
    if not 0 <= low <= high:
        problems.append(f"node_pool: min_nodes {low} is more than max_nodes {high}, or less than 0")
    if problems:
        raise ConfigError("; ".join(problems))


def _is_cidr(text: str) -> bool:
    try:
        ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


def _authorized(networks: list[Json]) -> Json:
    blocks = [
        {"cidrBlock": n["cidr"], **({"displayName": n["name"]} if n.get("name") else {})}
        for n in networks
    ]
    return {"enabled": bool(blocks), "cidrBlocks": blocks}


def _networks(config: Json) -> tuple[bool, list[tuple[str, str]]]:
    blocks = [
        (str(ipaddress.ip_network(b["cidrBlock"], strict=False)), b.get("displayName", ""))
        for b in config.get("cidrBlocks", [])
    ]
    return bool(config.get("enabled")), sorted(blocks)
