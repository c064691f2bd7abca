"""The printed columns of built-in kinds (k8s.io/kubernetes/pkg/printers/internalversion)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.kube import clock, table_pods

Json = dict[str, Any]
_NONE = "<none>"
_UNSET = "<unset>"


@dataclass(frozen=True, slots=True)
class BuiltinColumn:
    """A column and how to read it; `priority` 1 is shown by `-o wide` only."""

    name: str
    read: Callable[[Json], Any]
    type: str = "string"
    priority: int = 0


Columns = tuple[BuiltinColumn, ...]


def _at(obj: Json, *path: str) -> Any:
    value: Any = obj
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _field(*path: str, default: Any = "") -> Callable[[Json], Any]:
    def read(obj: Json) -> Any:
        value = _at(obj, *path)
        return default if value is None else value

    return read


def _count(*path: str) -> Callable[[Json], int]:
    return lambda obj: len(_at(obj, *path) or ())


def _age(obj: Json) -> str:
    return clock.age(obj["metadata"].get("creationTimestamp"))


def labels_text(labels: Json | None) -> str:
    """Labels in one line."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or _NONE


def _selector(*path: str) -> Callable[[Json], str]:
    def read(obj: Json) -> str:
        selector = _at(obj, *path) or {}
        if "matchLabels" not in selector and "matchExpressions" not in selector:
            return labels_text(selector)
        parts = [labels_text(selector["matchLabels"])] if selector.get("matchLabels") else []
        for item in selector.get("matchExpressions") or []:
            values = ",".join(item.get("values") or [])
            text = {
                "In": f"{item['key']} in ({values})",
                "NotIn": f"{item['key']} notin ({values})",
                "Exists": item["key"],
                "DoesNotExist": f"!{item['key']}",
            }
            parts.append(text[item["operator"]])
        return ",".join(parts) or _NONE

    return read


def _pod_containers(template: tuple[str, ...], what: str) -> Callable[[Json], str]:
    def read(obj: Json) -> str:
        return ",".join(item.get(what, "") for item in _at(obj, *template) or [])

    return read


def _ready(total: tuple[str, ...], ready: tuple[str, ...]) -> Callable[[Json], str]:
    return lambda obj: f"{_at(obj, *ready) or 0}/{_at(obj, *total) or 0}"


def _external_ip(obj: Json) -> str:
    spec = obj.get("spec") or {}
    addresses = list(spec.get("externalIPs") or [])
    kind = spec.get("type")
    if kind == "ExternalName":
        return str(spec.get("externalName", ""))
    if kind == "LoadBalancer":
        ingress = _at(obj, "status", "loadBalancer", "ingress") or []
        found = [item.get("ip") or item.get("hostname", "") for item in ingress]
        return ",".join(found + addresses) or "<pending>"
    return ",".join(addresses) or _NONE


def _service_ports(obj: Json) -> str:
    texts = []
    for port in _at(obj, "spec", "ports") or []:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        texts.append(f"{port['port']}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(texts) or _NONE


def _endpoints(obj: Json) -> str:
    texts = []
    for subset in obj.get("subsets") or []:
        for address in subset.get("addresses") or []:
            texts += [f"{address['ip']}:{port['port']}" for port in subset.get("ports") or [{}]]
    more = f" + {len(texts) - 3} more..." if len(texts) > 3 else ""
    return ",".join(texts[:3]) + more or _NONE


def _node_status(obj: Json) -> str:
    text = "Unknown"
    for condition in _at(obj, "status", "conditions") or []:
        if condition["type"] == "Ready":
            text = "Ready" if condition["status"] == "True" else "NotReady"
    return text + (",SchedulingDisabled" if _at(obj, "spec", "unschedulable") else "")


def _node_roles(obj: Json) -> str:
    prefix = "node-role.kubernetes.io/"
    roles = [
        key.removeprefix(prefix) for key in obj["metadata"].get("labels") or {} if prefix in key
    ]
    return ",".join(sorted(roles)) or _NONE


def _node_address(type_: str) -> Callable[[Json], str]:
    def read(obj: Json) -> str:
        for address in _at(obj, "status", "addresses") or []:
            if address["type"] == type_:
                return str(address["address"])
        return _NONE

    return read


def _job_status(obj: Json) -> str:
    status = obj.get("status") or {}
    held = {c["type"] for c in status.get("conditions") or [] if c["status"] == "True"}
    for condition, text in (("Complete", "Complete"), ("Failed", "Failed")):
        if condition in held:
            return text
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    if "Suspended" in held:
        return "Suspended"
    return "FailureTarget" if "FailureTarget" in held else "Running"


def _job_completions(obj: Json) -> str:
    succeeded = _at(obj, "status", "succeeded") or 0
    wanted = _at(obj, "spec", "completions")
    if wanted is not None:
        return f"{succeeded}/{wanted}"
    parallel = _at(obj, "spec", "parallelism") or 1
    return f"{succeeded}/1 of {parallel}" if parallel > 1 else f"{succeeded}/1"


def _job_duration(obj: Json) -> str:
    start, end = _at(obj, "status", "startTime"), _at(obj, "status", "completionTime")
    if not start:
        return ""
    if not end:
        return clock.age(start)
    return clock.human_duration(int((clock.parse(end) - clock.parse(start)).total_seconds()))


def _event_object(obj: Json) -> str:
    involved = obj.get("involvedObject") or {}
    return f"{involved.get('kind', '').lower()}/{involved.get('name', '')}"


def _event_seen(obj: Json) -> str:
    series = _at(obj, "series", "lastObservedTime")
    return clock.age(series or obj.get("lastTimestamp") or obj.get("eventTime"))


def _role_reference(obj: Json) -> str:
    reference = obj.get("roleRef") or {}
    return f"{reference.get('kind', '')}/{reference.get('name', '')}"


def _subjects(kind: str) -> Callable[[Json], str]:
    def read(obj: Json) -> str:
        found = []
        for subject in obj.get("subjects") or []:
            if subject.get("kind") == kind:
                space = f"{subject['namespace']}/" if kind == "ServiceAccount" else ""
                found.append(space + subject["name"])
        return ", ".join(found)

    return read


def _hpa_targets(obj: Json) -> str:
    texts = []
    current = _at(obj, "status", "currentMetrics") or []
    for index, metric in enumerate(_at(obj, "spec", "metrics") or []):
        target = metric.get("resource", {}).get("target", {})
        wanted = target.get("averageUtilization")
        value = current[index] if index < len(current) else {}
        now = _at(value, "resource", "current", "averageUtilization")
        name = metric.get("resource", {}).get("name", metric.get("type", ""))
        shown = "<unknown>" if now is None else f"{now}%"
        texts.append(f"{name}: {shown}/{wanted}%" if wanted is not None else f"{name}: {shown}")
    return ", ".join(texts) or _NONE


def _hpa_reference(obj: Json) -> str:
    target = _at(obj, "spec", "scaleTargetRef") or {}
    return f"{target.get('kind', '')}/{target.get('name', '')}"


def _pdb_value(key: str) -> Callable[[Json], str]:
    return lambda obj: "N/A" if _at(obj, "spec", key) is None else str(_at(obj, "spec", key))


def _ingress_hosts(obj: Json) -> str:
    hosts = [rule.get("host") or "*" for rule in _at(obj, "spec", "rules") or []]
    return ",".join(hosts) or "*"


def _ingress_address(obj: Json) -> str:
    found = _at(obj, "status", "loadBalancer", "ingress") or []
    return ",".join(item.get("ip") or item.get("hostname", "") for item in found)


def _slice_ports(obj: Json) -> str:
    return ",".join(str(port.get("port", "*")) for port in obj.get("ports") or []) or _UNSET


def _slice_endpoints(obj: Json) -> str:
    found = [address for item in obj.get("endpoints") or [] for address in item["addresses"]]
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return ",".join(found[:3]) + more or _UNSET


AGE = BuiltinColumn("Age", _age)


def _wide(name: str, read: Callable[[Json], Any]) -> BuiltinColumn:
    return BuiltinColumn(name, read, priority=1)


def _number(name: str, *path: str) -> BuiltinColumn:
    return BuiltinColumn(name, _field(*path, default=0), "integer")


_TEMPLATE = ("spec", "template", "spec", "containers")
_WORKLOAD_WIDE = (
    _wide("Containers", _pod_containers(_TEMPLATE, "name")),
    _wide("Images", _pod_containers(_TEMPLATE, "image")),
    _wide("Selector", _selector("spec", "selector")),
)

BUILTIN: dict[str, Columns] = {
    "pods": tuple(
        BuiltinColumn(name, read, type_, priority)
        for name, type_, priority, read in table_pods.COLUMNS
    ),
    "configmaps": (
        BuiltinColumn(
            "Data",
            lambda obj: len(obj.get("data") or ()) + len(obj.get("binaryData") or ()),
            "integer",
        ),
        AGE,
    ),
    "secrets": (
        BuiltinColumn("Type", _field("type")),
        BuiltinColumn("Data", _count("data"), "integer"),
        AGE,
    ),
    "serviceaccounts": (BuiltinColumn("Secrets", _count("secrets"), "integer"), AGE),
    "namespaces": (BuiltinColumn("Status", _field("status", "phase")), AGE),
    "nodes": (
        BuiltinColumn("Status", _node_status),
        BuiltinColumn("Roles", _node_roles),
        AGE,
        BuiltinColumn("Version", _field("status", "nodeInfo", "kubeletVersion")),
        _wide("Internal-IP", _node_address("InternalIP")),
        _wide("External-IP", _node_address("ExternalIP")),
        _wide("OS-Image", _field("status", "nodeInfo", "osImage")),
        _wide("Kernel-Version", _field("status", "nodeInfo", "kernelVersion")),
        _wide("Container-Runtime", _field("status", "nodeInfo", "containerRuntimeVersion")),
    ),
    "services": (
        BuiltinColumn("Type", _field("spec", "type")),
        BuiltinColumn("Cluster-IP", _field("spec", "clusterIP", default=_NONE)),
        BuiltinColumn("External-IP", _external_ip),
        BuiltinColumn("Port(s)", _service_ports),
        AGE,
        _wide("Selector", _selector("spec", "selector")),
    ),
    "endpoints": (BuiltinColumn("Endpoints", _endpoints), AGE),
    "endpointslices.discovery.k8s.io": (
        BuiltinColumn("AddressType", _field("addressType")),
        BuiltinColumn("Ports", _slice_ports),
        BuiltinColumn("Endpoints", _slice_endpoints),
        AGE,
    ),
    "events": (
        BuiltinColumn("Last Seen", _event_seen),
        BuiltinColumn("Type", _field("type")),
        BuiltinColumn("Reason", _field("reason")),
        BuiltinColumn("Object", _event_object),
        _wide("Subobject", _field("involvedObject", "fieldPath")),
        _wide("Source", _field("source", "component")),
        BuiltinColumn("Message", lambda obj: str(obj.get("message", "")).strip()),
        _wide(
            "First Seen", lambda obj: clock.age(obj.get("firstTimestamp") or obj.get("eventTime"))
        ),
        BuiltinColumn("Count", _field("count", default=1), "integer", 1),
    ),
    "deployments.apps": (
        BuiltinColumn("Ready", _ready(("spec", "replicas"), ("status", "readyReplicas"))),
        _number("Up-to-date", "status", "updatedReplicas"),
        _number("Available", "status", "availableReplicas"),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    "replicasets.apps": (
        _number("Desired", "spec", "replicas"),
        _number("Current", "status", "replicas"),
        _number("Ready", "status", "readyReplicas"),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    "statefulsets.apps": (
        BuiltinColumn("Ready", _ready(("spec", "replicas"), ("status", "readyReplicas"))),
        AGE,
        *_WORKLOAD_WIDE[:2],
    ),
    "daemonsets.apps": (
        _number("Desired", "status", "desiredNumberScheduled"),
        _number("Current", "status", "currentNumberScheduled"),
        _number("Ready", "status", "numberReady"),
        _number("Up-to-date", "status", "updatedNumberScheduled"),
        _number("Available", "status", "numberAvailable"),
        BuiltinColumn("Node Selector", _selector("spec", "template", "spec", "nodeSelector")),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    "jobs.batch": (
        BuiltinColumn("Status", _job_status),
        BuiltinColumn("Completions", _job_completions),
        BuiltinColumn("Duration", _job_duration),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    "cronjobs.batch": (
        BuiltinColumn("Schedule", _field("spec", "schedule")),
        BuiltinColumn("Timezone", _field("spec", "timeZone", default=_NONE)),
        BuiltinColumn("Suspend", lambda obj: str(bool(_at(obj, "spec", "suspend")))),
        BuiltinColumn("Active", _count("status", "active"), "integer"),
        BuiltinColumn(
            "Last Schedule",
            lambda obj: (
                clock.age(_at(obj, "status", "lastScheduleTime"))
                if _at(obj, "status", "lastScheduleTime")
                else _NONE
            ),
        ),
        AGE,
    ),
    "horizontalpodautoscalers.autoscaling": (
        BuiltinColumn("Reference", _hpa_reference),
        BuiltinColumn("Targets", _hpa_targets),
        BuiltinColumn("MinPods", lambda obj: str(_at(obj, "spec", "minReplicas") or _UNSET)),
        BuiltinColumn("MaxPods", _field("spec", "maxReplicas"), "integer"),
        _number("Replicas", "status", "currentReplicas"),
        AGE,
    ),
    "ingresses.networking.k8s.io": (
        BuiltinColumn("Class", _field("spec", "ingressClassName", default=_NONE)),
        BuiltinColumn("Hosts", _ingress_hosts),
        BuiltinColumn("Address", _ingress_address),
        BuiltinColumn("Ports", lambda obj: "80, 443" if _at(obj, "spec", "tls") else "80"),
        AGE,
    ),
    "poddisruptionbudgets.policy": (
        BuiltinColumn("Min Available", _pdb_value("minAvailable")),
        BuiltinColumn("Max Unavailable", _pdb_value("maxUnavailable")),
        _number("Allowed Disruptions", "status", "disruptionsAllowed"),
        AGE,
    ),
    "roles.rbac.authorization.k8s.io": (
        BuiltinColumn("Created At", _field("metadata", "creationTimestamp")),
    ),
    "clusterroles.rbac.authorization.k8s.io": (
        BuiltinColumn("Created At", _field("metadata", "creationTimestamp")),
    ),
    "rolebindings.rbac.authorization.k8s.io": (
        BuiltinColumn("Role", _role_reference),
        AGE,
        _wide("Users", _subjects("User")),
        _wide("Groups", _subjects("Group")),
        _wide("ServiceAccounts", _subjects("ServiceAccount")),
    ),
    "clusterrolebindings.rbac.authorization.k8s.io": (
        BuiltinColumn("Role", _role_reference),
        AGE,
        _wide("Users", _subjects("User")),
        _wide("Groups", _subjects("Group")),
        _wide("ServiceAccounts", _subjects("ServiceAccount")),
    ),
    "customresourcedefinitions.apiextensions.k8s.io": (
        BuiltinColumn("Created At", _field("metadata", "creationTimestamp")),
    ),
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": (
        BuiltinColumn("Webhooks", _count("webhooks"), "integer"),
        AGE,
    ),
    "validatingwebhookconfigurations.admissionregistration.k8s.io": (
        BuiltinColumn("Webhooks", _count("webhooks"), "integer"),
        AGE,
    ),
    "leases.coordination.k8s.io": (
        BuiltinColumn("Holder", _field("spec", "holderIdentity")),
        AGE,
    ),
}
