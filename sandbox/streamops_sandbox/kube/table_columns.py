"""The printed columns of built-in kinds (k8s.io/kubernetes/pkg/printers/internalversion)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamops_sandbox.kube import clock, table_pods, table_rare
from streamops_sandbox.kube.table_parts import (
    AGE,
    NONE,
    UNSET,
    BuiltinColumn,
    Columns,
    at,
    containers_at,
    count_at,
    field_at,
    number_at,
    selector_at,
    wide,
)

Json = dict[str, Any]


def _ready(total: tuple[str, ...], ready: tuple[str, ...]) -> Callable[[Json], str]:
    return lambda obj: f"{at(obj, *ready) or 0}/{at(obj, *total) or 0}"


def _external_ip(obj: Json) -> str:
    spec = obj.get("spec") or {}
    addresses = list(spec.get("externalIPs") or [])
    kind = spec.get("type")
    if kind == "ExternalName":
        return str(spec.get("externalName", ""))
    if kind == "LoadBalancer":
        ingress = at(obj, "status", "loadBalancer", "ingress") or []
        found = [item.get("ip") or item.get("hostname", "") for item in ingress]
        return ",".join(found + addresses) or "<pending>"
    return ",".join(addresses) or NONE


def _service_ports(obj: Json) -> str:
    texts = []
    for port in at(obj, "spec", "ports") or []:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        texts.append(f"{port['port']}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(texts) or NONE


def _endpoints(obj: Json) -> str:
    texts = []
    for subset in obj.get("subsets") or []:
        for address in subset.get("addresses") or []:
            texts += [f"{address['ip']}:{port['port']}" for port in subset.get("ports") or [{}]]
    more = f" + {len(texts) - 3} more..." if len(texts) > 3 else ""
    return ",".join(texts[:3]) + more or NONE


def _node_status(obj: Json) -> str:
    text = "Unknown"
    for condition in at(obj, "status", "conditions") or []:
        if condition["type"] == "Ready":
            text = "Ready" if condition["status"] == "True" else "NotReady"
    return text + (",SchedulingDisabled" if at(obj, "spec", "unschedulable") else "")


def _node_roles(obj: Json) -> str:
    prefix = "node-role.kubernetes.io/"
    roles = [
        key.removeprefix(prefix) for key in obj["metadata"].get("labels") or {} if prefix in key
    ]
    return ",".join(sorted(roles)) or NONE


def _node_address(type_: str) -> Callable[[Json], str]:
    def read(obj: Json) -> str:
        for address in at(obj, "status", "addresses") or []:
            if address["type"] == type_:
                return str(address["address"])
        return NONE

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
    succeeded = at(obj, "status", "succeeded") or 0
    wanted = at(obj, "spec", "completions")
    if wanted is not None:
        return f"{succeeded}/{wanted}"
    parallel = at(obj, "spec", "parallelism") or 1
    return f"{succeeded}/1 of {parallel}" if parallel > 1 else f"{succeeded}/1"


def _job_duration(obj: Json) -> str:
    start, end = at(obj, "status", "startTime"), at(obj, "status", "completionTime")
    if not start:
        return ""
    if not end:
        return clock.age(start)
    return clock.human_duration(int((clock.parse(end) - clock.parse(start)).total_seconds()))


def _event_object(obj: Json) -> str:
    involved = obj.get("involvedObject") or {}
    return f"{involved.get('kind', '').lower()}/{involved.get('name', '')}"


def _event_seen(obj: Json) -> str:
    series = at(obj, "series", "lastObservedTime")
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
    current = at(obj, "status", "currentMetrics") or []
    for index, metric in enumerate(at(obj, "spec", "metrics") or []):
        target = metric.get("resource", {}).get("target", {})
        wanted = target.get("averageUtilization")
        value = current[index] if index < len(current) else {}
        now = at(value, "resource", "current", "averageUtilization")
        name = metric.get("resource", {}).get("name", metric.get("type", ""))
        shown = "<unknown>" if now is None else f"{now}%"
        texts.append(f"{name}: {shown}/{wanted}%" if wanted is not None else f"{name}: {shown}")
    return ", ".join(texts) or NONE


def _hpa_reference(obj: Json) -> str:
    target = at(obj, "spec", "scaleTargetRef") or {}
    return f"{target.get('kind', '')}/{target.get('name', '')}"


def _pdb_value(key: str) -> Callable[[Json], str]:
    return lambda obj: "N/A" if at(obj, "spec", key) is None else str(at(obj, "spec", key))


def _ingress_hosts(obj: Json) -> str:
    hosts = [rule.get("host") or "*" for rule in at(obj, "spec", "rules") or []]
    return ",".join(hosts) or "*"


def _ingress_address(obj: Json) -> str:
    found = at(obj, "status", "loadBalancer", "ingress") or []
    return ",".join(item.get("ip") or item.get("hostname", "") for item in found)


def _slice_ports(obj: Json) -> str:
    return ",".join(str(port.get("port", "*")) for port in obj.get("ports") or []) or UNSET


def _slice_endpoints(obj: Json) -> str:
    found = [address for item in obj.get("endpoints") or [] for address in item["addresses"]]
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return ",".join(found[:3]) + more or UNSET


_TEMPLATE = ("spec", "template", "spec", "containers")
_WORKLOAD_WIDE = (
    wide("Containers", containers_at(_TEMPLATE, "name")),
    wide("Images", containers_at(_TEMPLATE, "image")),
    wide("Selector", selector_at("spec", "selector")),
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
        BuiltinColumn("Type", field_at("type")),
        BuiltinColumn("Data", count_at("data"), "integer"),
        AGE,
    ),
    "serviceaccounts": (BuiltinColumn("Secrets", count_at("secrets"), "integer"), AGE),
    "namespaces": (BuiltinColumn("Status", field_at("status", "phase")), AGE),
    "nodes": (
        BuiltinColumn("Status", _node_status),
        BuiltinColumn("Roles", _node_roles),
        AGE,
        BuiltinColumn("Version", field_at("status", "nodeInfo", "kubeletVersion")),
        wide("Internal-IP", _node_address("InternalIP")),
        wide("External-IP", _node_address("ExternalIP")),
        wide("OS-Image", field_at("status", "nodeInfo", "osImage")),
        wide("Kernel-Version", field_at("status", "nodeInfo", "kernelVersion")),
        wide("Container-Runtime", field_at("status", "nodeInfo", "containerRuntimeVersion")),
    ),
    "services": (
        BuiltinColumn("Type", field_at("spec", "type")),
        BuiltinColumn("Cluster-IP", field_at("spec", "clusterIP", default=NONE)),
        BuiltinColumn("External-IP", _external_ip),
        BuiltinColumn("Port(s)", _service_ports),
        AGE,
        wide("Selector", selector_at("spec", "selector")),
    ),
    "endpoints": (BuiltinColumn("Endpoints", _endpoints), AGE),
    "endpointslices.discovery.k8s.io": (
        BuiltinColumn("AddressType", field_at("addressType")),
        BuiltinColumn("Ports", _slice_ports),
        BuiltinColumn("Endpoints", _slice_endpoints),
        AGE,
    ),
    "events": (
        BuiltinColumn("Last Seen", _event_seen),
        BuiltinColumn("Type", field_at("type")),
        BuiltinColumn("Reason", field_at("reason")),
        BuiltinColumn("Object", _event_object),
        wide("Subobject", field_at("involvedObject", "fieldPath")),
        wide("Source", field_at("source", "component")),
        BuiltinColumn("Message", lambda obj: str(obj.get("message", "")).strip()),
        wide(
            "First Seen", lambda obj: clock.age(obj.get("firstTimestamp") or obj.get("eventTime"))
        ),
        BuiltinColumn("Count", field_at("count", default=1), "integer", 1),
        BuiltinColumn("Name", field_at("metadata", "name"), priority=1),
    ),
    "deployments.apps": (
        BuiltinColumn("Ready", _ready(("spec", "replicas"), ("status", "readyReplicas"))),
        number_at("Up-to-date", "status", "updatedReplicas"),
        number_at("Available", "status", "availableReplicas"),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    "replicasets.apps": (
        number_at("Desired", "spec", "replicas"),
        number_at("Current", "status", "replicas"),
        number_at("Ready", "status", "readyReplicas"),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    "statefulsets.apps": (
        BuiltinColumn("Ready", _ready(("spec", "replicas"), ("status", "readyReplicas"))),
        AGE,
        *_WORKLOAD_WIDE[:2],
    ),
    "daemonsets.apps": (
        number_at("Desired", "status", "desiredNumberScheduled"),
        number_at("Current", "status", "currentNumberScheduled"),
        number_at("Ready", "status", "numberReady"),
        number_at("Up-to-date", "status", "updatedNumberScheduled"),
        number_at("Available", "status", "numberAvailable"),
        BuiltinColumn("Node Selector", selector_at("spec", "template", "spec", "nodeSelector")),
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
        BuiltinColumn("Schedule", field_at("spec", "schedule")),
        BuiltinColumn("Timezone", field_at("spec", "timeZone", default=NONE)),
        BuiltinColumn("Suspend", lambda obj: str(bool(at(obj, "spec", "suspend")))),
        BuiltinColumn("Active", count_at("status", "active"), "integer"),
        BuiltinColumn(
            "Last Schedule",
            lambda obj: (
                clock.age(at(obj, "status", "lastScheduleTime"))
                if at(obj, "status", "lastScheduleTime")
                else NONE
            ),
        ),
        AGE,
    ),
    "horizontalpodautoscalers.autoscaling": (
        BuiltinColumn("Reference", _hpa_reference),
        BuiltinColumn("Targets", _hpa_targets),
        BuiltinColumn("MinPods", lambda obj: str(at(obj, "spec", "minReplicas") or UNSET)),
        BuiltinColumn("MaxPods", field_at("spec", "maxReplicas"), "integer"),
        number_at("Replicas", "status", "currentReplicas"),
        AGE,
    ),
    "ingresses.networking.k8s.io": (
        BuiltinColumn("Class", field_at("spec", "ingressClassName", default=NONE)),
        BuiltinColumn("Hosts", _ingress_hosts),
        BuiltinColumn("Address", _ingress_address),
        BuiltinColumn("Ports", lambda obj: "80, 443" if at(obj, "spec", "tls") else "80"),
        AGE,
    ),
    "poddisruptionbudgets.policy": (
        BuiltinColumn("Min Available", _pdb_value("minAvailable")),
        BuiltinColumn("Max Unavailable", _pdb_value("maxUnavailable")),
        number_at("Allowed Disruptions", "status", "disruptionsAllowed"),
        AGE,
    ),
    "roles.rbac.authorization.k8s.io": (
        BuiltinColumn("Created At", field_at("metadata", "creationTimestamp")),
    ),
    "clusterroles.rbac.authorization.k8s.io": (
        BuiltinColumn("Created At", field_at("metadata", "creationTimestamp")),
    ),
    "rolebindings.rbac.authorization.k8s.io": (
        BuiltinColumn("Role", _role_reference),
        AGE,
        wide("Users", _subjects("User")),
        wide("Groups", _subjects("Group")),
        wide("ServiceAccounts", _subjects("ServiceAccount")),
    ),
    "clusterrolebindings.rbac.authorization.k8s.io": (
        BuiltinColumn("Role", _role_reference),
        AGE,
        wide("Users", _subjects("User")),
        wide("Groups", _subjects("Group")),
        wide("ServiceAccounts", _subjects("ServiceAccount")),
    ),
    "customresourcedefinitions.apiextensions.k8s.io": (
        BuiltinColumn("Created At", field_at("metadata", "creationTimestamp")),
    ),
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": (
        BuiltinColumn("Webhooks", count_at("webhooks"), "integer"),
        AGE,
    ),
    "validatingwebhookconfigurations.admissionregistration.k8s.io": (
        BuiltinColumn("Webhooks", count_at("webhooks"), "integer"),
        AGE,
    ),
    "leases.coordination.k8s.io": (
        BuiltinColumn("Holder", field_at("spec", "holderIdentity")),
        AGE,
    ),
    **table_rare.COLUMNS,
}
