"""Tables, as `kubectl get` prints them.

Built-in kinds have the columns of `table_columns.yaml`; custom ones those of their definition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from streamops_sandbox import timestamps
from streamops_sandbox.kube import builtin_schemas, errors, jsonpath
from streamops_sandbox.kube.resources import Resource
from streamops_sandbox.objects import Object

Read = Callable[[Object], Any]
_FILE = Path(__file__).parent / "table_columns.yaml"
NONE, UNSET = "<none>", "<unset>"
_ACCESS_MODES = {
    "ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its definition, and the reader of its cells."""

    definition: Object
    read: Read


def table(
    objects: list[Object], metadata: Object, resource: Resource, include: str, *, headers: bool
) -> Object:
    """Return the `Table` of some objects; `include` is None, Metadata (the default) or Object."""
    if include not in ("", "None", "Metadata", "Object"):
        raise errors.bad_request(
            "Unable to convert to Table as requested: includeObject: Invalid value: "
            f"\"{include}\": must be 'Metadata', 'Object', 'None', or empty"
        )
    kind = objects[0].get("kind") if objects else ""
    if resource.custom and kind != "Scale":
        columns = _custom(resource)
    else:
        columns = (
            _builtin().get("Scale" if kind == "Scale" else resource.collection) or _builtin()[""]
        )
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [column.definition for column in columns] if headers else [],
        "rows": [
            {"cells": [column.read(obj) for column in columns], "object": _attached(obj, include)}
            for obj in objects
        ],
    }


def _attached(obj: Object, include: str) -> Object | None:
    if include == "None":
        return None
    if include == "Object":
        return obj
    metadata = obj["metadata"]
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
    }


def _definition(
    name: str, type_: str, priority: int, description: str, format_: str = ""
) -> Object:
    return {
        "name": name,
        "type": type_,
        "format": format_,
        "description": description,
        "priority": priority,
    }


def _custom(resource: Resource) -> list[Column]:
    name, age = _builtin()[""]
    columns = [name]
    for source in resource.columns:
        path, type_ = source["jsonPath"], source["type"]
        text = source.get("description") or (
            f"Custom resource definition column (in JSONPath format): {path}"
        )
        shown = (source["name"], type_, source.get("priority", 0), text, source.get("format", ""))
        columns.append(Column(_definition(*shown), _custom_reader(path, type_)))
    if not resource.columns:
        columns.append(Column({**age.definition, "type": "date"}, age.read))
    return columns


def _custom_reader(path: str, type_: str) -> Read:
    return lambda obj: _custom_cell(jsonpath.find(obj, path), type_)


def _custom_cell(values: list[Any], type_: str) -> Any:
    if not values or values[0] is None:
        return "<unknown>" if type_ == "date" else None
    value = values[0]
    if type_ == "date":
        return timestamps.age(value)
    if type_ == "boolean":
        return value if isinstance(value, bool) else None
    if type_ in ("integer", "number"):
        return value if isinstance(value, (int, float)) else None
    if len(values) > 1:
        return " ".join(str(item) for item in values)
    return str(value).lower() if isinstance(value, bool) else str(value)


@lru_cache(maxsize=1)
def _builtin() -> dict[str, list[Column]]:
    """Return the columns by collection, read at first use; "" has those of any other kind."""
    text = _FILE.read_text()
    source = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    documents = builtin_schemas.read_definitions()
    columns: dict[str, list[Column]] = {"": []}
    rows: Any
    for kind, rows in {**source, "": [source["x-age"]]}.items():
        if kind.startswith("x-"):
            continue
        made = [_column(documents, *row) for row in rows]
        if all(column.definition["name"] != "Name" for column in made):
            text = _described(documents, "meta.v1.ObjectMeta.name")
            made.insert(
                0, Column(_definition("Name", "string", 0, text, "name"), _at("metadata.name"))
            )
        columns[kind] = made
    return columns


def _column(documents: Object, title: str, read: str, text: str, flags: str = "") -> Column:
    type_ = next((word for word in flags.split() if word not in ("wide", "name")), "string")
    form = "name" if title == "Name" or "name" in flags else ""
    definition = _definition(title, type_, int("wide" in flags), _described(documents, text), form)
    return Column(definition, _reader(read))


def _described(documents: Object, text: str) -> str:
    """Return a description: the text itself, or that of the field it names."""
    group, _, rest = text.partition(".")
    version, _, field = rest.partition(".")
    prefix = "io.k8s.apimachinery.pkg.apis.meta" if group == "meta" else f"io.k8s.api.{group}"
    name, _, key = field.partition(".")
    found = documents.get(f"{prefix}.{version}.{name}")
    return str(found["properties"][key]["description"]) if found else text


def _reader(text: str) -> Read:
    name, _, argument = text.partition(":")
    if name in _FUNCTIONS:
        return _FUNCTIONS[name]
    if name in _FACTORIES:
        return _FACTORIES[name](argument)
    return _at(text)


def at(obj: Object, path: str) -> Any:
    """Return the value at a dotted path, or None."""
    value: Any = obj
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _at(text: str) -> Read:
    path, _, default = text.partition("|")
    fallback: Any = int(default) if default.isdigit() else default

    def read(obj: Object) -> Any:
        value = at(obj, path)
        if value is None or value == "":
            return fallback
        return value if isinstance(fallback, int) or isinstance(value, str) else str(value)

    return read


def _selector(path: str) -> Read:
    def read(obj: Object) -> str:
        selector = at(obj, path) or {}
        if "matchLabels" not in selector and "matchExpressions" not in selector:
            return _labels(selector) or NONE
        parts = [_labels(selector["matchLabels"])] if selector.get("matchLabels") else []
        for item in selector.get("matchExpressions") or []:
            values = ",".join(item.get("values") or [])
            text = {
                "In": f"{item['key']} in ({values})",
                "NotIn": f"{item['key']} notin ({values})",
                "Exists": item["key"],
                "DoesNotExist": f"!{item['key']}",
            }
            parts.append(text[item["operator"]])
        return ",".join(parts) or NONE

    return read


def _labels(labels: Object) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _subjects(kind: str) -> Read:
    def read(obj: Object) -> str:
        found = [item for item in obj.get("subjects") or [] if item.get("kind") == kind]
        space = kind == "ServiceAccount"
        return ", ".join(f"{item.get('namespace', '')}/" * space + item["name"] for item in found)

    return read


def _kind_name(path: str) -> Read:
    def read(obj: Object) -> str:
        found = at(obj, path)
        if not found:
            return NONE
        group = (
            f".{found['apiGroup']}" if found.get("apiGroup") and path == "spec.parameters" else ""
        )
        return f"{found.get('kind', '')}{group}/{found.get('name', '')}"

    return read


def _node_address(type_: str) -> Read:
    def read(obj: Object) -> str:
        found = [
            item["address"] for item in at(obj, "status.addresses") or [] if item["type"] == type_
        ]
        return str(found[0]) if found else NONE

    return read


def _external_ip(obj: Object) -> str:
    addresses = list(at(obj, "spec.externalIPs") or [])
    kind = at(obj, "spec.type")
    if kind == "ExternalName":
        return str(at(obj, "spec.externalName") or "")
    if kind == "LoadBalancer":
        return ",".join([*_ingress_addresses(obj), *addresses]) or "<pending>"
    return ",".join(addresses) or NONE


def _ingress_addresses(obj: Object) -> list[str]:
    found = at(obj, "status.loadBalancer.ingress") or []
    return [item.get("ip") or item.get("hostname", "") for item in found]


def _service_ports(obj: Object) -> str:
    texts = []
    for port in at(obj, "spec.ports") or []:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        texts.append(f"{port['port']}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(texts) or NONE


def _first_three(found: list[str], nothing: str) -> str:
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return ",".join(found[:3]) + more or nothing


def _endpoints(obj: Object) -> str:
    texts = [
        f"{address['ip']}:{port['port']}"
        for subset in obj.get("subsets") or []
        for address in subset.get("addresses") or []
        for port in subset.get("ports") or []
    ]
    return _first_three(texts, NONE)


def _node_status(obj: Object) -> str:
    ready = [item for item in at(obj, "status.conditions") or [] if item["type"] == "Ready"]
    text = "Unknown" if not ready else "Ready" if ready[-1]["status"] == "True" else "NotReady"
    return text + (",SchedulingDisabled" if at(obj, "spec.unschedulable") else "")


def _node_roles(obj: Object) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = obj["metadata"].get("labels") or {}
    return ",".join(sorted(key.removeprefix(prefix) for key in labels if prefix in key)) or NONE


def _job_status(obj: Object) -> str:
    held = {c["type"] for c in at(obj, "status.conditions") or [] if c["status"] == "True"}
    if held & {"Complete", "Failed"}:
        return "Complete" if "Complete" in held else "Failed"
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    found = [kind for kind in ("Suspended", "FailureTarget") if kind in held]
    return found[0] if found else "Running"


def _job_completions(obj: Object) -> str:
    succeeded, wanted = at(obj, "status.succeeded") or 0, at(obj, "spec.completions")
    if wanted is not None:
        return f"{succeeded}/{wanted}"
    parallel = at(obj, "spec.parallelism") or 1
    return f"{succeeded}/1 of {parallel}" if parallel > 1 else f"{succeeded}/1"


def _job_duration(obj: Object) -> str:
    start, end = at(obj, "status.startTime"), at(obj, "status.completionTime")
    if not start:
        return ""
    if not end:
        return timestamps.age(start)
    return timestamps.human_duration(
        int((timestamps.parse(end) - timestamps.parse(start)).total_seconds())
    )


def _hpa_targets(obj: Object) -> str:
    texts = []
    current = at(obj, "status.currentMetrics") or []
    for index, metric in enumerate(at(obj, "spec.metrics") or []):
        wanted = at(metric, "resource.target.averageUtilization")
        value = current[index] if index < len(current) else {}
        now = at(value, "resource.current.averageUtilization")
        name = at(metric, "resource.name") or metric.get("type", "")
        shown = "<unknown>" if now is None else f"{now}%"
        texts.append(f"{name}: {shown}/{wanted}%" if wanted is not None else f"{name}: {shown}")
    return ", ".join(texts) or NONE


def _statuses(pod: Object, key: str) -> list[Object]:
    found: list[Object] = (pod.get("status") or {}).get(key) or []
    return found


def _pod_ready(pod: Object) -> str:
    """Return `1/2`: containers that are ready, and containers there are."""
    total = len((pod.get("spec") or {}).get("containers") or [])
    count = sum(1 for status in _statuses(pod, "containerStatuses") if status.get("ready"))
    return f"{count}/{total}"


def _init_reason(pod: Object) -> str:
    total = len((pod.get("spec") or {}).get("initContainers") or [])
    for index, status in enumerate(_statuses(pod, "initContainerStatuses")):
        state = status.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting")
        if ended and ended.get("exitCode", 0) == 0:
            continue
        if ended:
            return f"Init:{ended.get('reason') or 'ExitCode:' + str(ended.get('exitCode'))}"
        if waiting and waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{total}"
    return ""


def _pod_status(pod: Object) -> str:
    """Return the word under STATUS."""
    state = pod.get("status") or {}
    reason = state.get("reason") or state.get("phase") or ""
    initializing = _init_reason(pod)
    if initializing:
        reason = initializing
    else:
        running = False
        for container in reversed(_statuses(pod, "containerStatuses")):
            now = container.get("state") or {}
            waiting, ended = now.get("waiting") or {}, now.get("terminated") or {}
            if waiting.get("reason"):
                reason = waiting["reason"]
            elif ended.get("reason"):
                reason = ended["reason"]
            elif "terminated" in now:
                reason = f"ExitCode:{ended.get('exitCode', 0)}"
            elif container.get("ready") and "running" in now:
                running = True
        if reason == "Completed" and running:
            reason = "Running" if _is_ready(pod) else "NotReady"
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return reason


def _is_ready(pod: Object) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in _statuses(pod, "conditions")
    )


def _pod_restarts(pod: Object) -> str:
    """Return how often containers were restarted, and when last."""
    count, last = 0, ""
    for container in _statuses(pod, "containerStatuses"):
        count += container.get("restartCount", 0)
        ended = (container.get("lastState") or {}).get("terminated") or {}
        last = max(last, ended.get("finishedAt") or "")
    return f"{count} ({timestamps.age(last)} ago)" if count and last else str(count)


def _pod_gates(pod: Object) -> str:
    """Return `1/2`: readiness gates that hold, and gates there are."""
    gates = (pod.get("spec") or {}).get("readinessGates") or []
    if not gates:
        return NONE
    held = {c["type"] for c in _statuses(pod, "conditions") if c["status"] == "True"}
    return f"{sum(1 for gate in gates if gate['conditionType'] in held)}/{len(gates)}"


def _quota(kind: str) -> Read:
    """Return the reader of what is used of limits, or of everything else."""

    def read(obj: Object) -> str:
        used, hard = (at(obj, f"status.{key}") or {} for key in ("used", "hard"))
        return ", ".join(
            f"{name}: {used.get(name, '0')}/{hard[name]}"
            for name in sorted(hard)
            if name.startswith("limits.") == bool(kind)
        )

    return read


def _controller(obj: Object) -> str:
    for owner in obj["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            group = owner["apiVersion"].rpartition("/")[0]
            kind = f"{owner['kind'].lower()}.{group}".rstrip(".")
            return f"{kind}/{owner['name']}"
    return NONE


#: Readers of a whole object.
_FUNCTIONS: dict[str, Read] = {
    "pod_ready": _pod_ready,
    "pod_status": _pod_status,
    "pod_restarts": _pod_restarts,
    "pod_gates": _pod_gates,
    "data_count": lambda obj: len(obj.get("data") or ()) + len(obj.get("binaryData") or ()),
    "ready": lambda obj: f"{at(obj, 'status.readyReplicas') or 0}/{at(obj, 'spec.replicas') or 0}",
    "node_status": _node_status,
    "node_roles": _node_roles,
    "external_ip": _external_ip,
    "service_ports": _service_ports,
    "endpoints": _endpoints,
    "slice_ports": lambda obj: (
        ",".join(str(p.get("port", "*")) for p in obj.get("ports") or []) or UNSET
    ),
    "slice_endpoints": lambda obj: _first_three(
        [address for item in obj.get("endpoints") or [] for address in item["addresses"]], UNSET
    ),
    "event_seen": lambda obj: timestamps.age(
        at(obj, "series.lastObservedTime") or obj.get("lastTimestamp") or obj.get("eventTime")
    ),
    "event_first_seen": lambda obj: timestamps.age(
        obj.get("firstTimestamp") or obj.get("eventTime")
    ),
    "event_object": lambda obj: (
        f"{at(obj, 'involvedObject.kind') or ''}".lower()
        + f"/{at(obj, 'involvedObject.name') or ''}"
    ),
    "volume_phase": lambda obj: (
        "Terminating" if obj["metadata"].get("deletionTimestamp") else at(obj, "status.phase") or ""
    ),
    "volume_claim": lambda obj: (
        "/".join(at(obj, f"spec.claimRef.{key}") or "" for key in ("namespace", "name"))
        if at(obj, "spec.claimRef")
        else ""
    ),
    "controller": _controller,
    "job_status": _job_status,
    "job_completions": _job_completions,
    "job_duration": _job_duration,
    "hpa_targets": _hpa_targets,
    "ingress_hosts": lambda obj: (
        ",".join(r.get("host") or "*" for r in at(obj, "spec.rules") or []) or "*"
    ),
    "ingress_address": lambda obj: ",".join(_ingress_addresses(obj)),
    "ingress_ports": lambda obj: "80, 443" if at(obj, "spec.tls") else "80",
}
#: Makers of readers, by a path or another argument.
_FACTORIES: dict[str, Callable[[str], Read]] = {
    "age": lambda path: lambda obj: timestamps.age(at(obj, path)),
    "age_or_none": lambda path: (
        lambda obj: timestamps.age(at(obj, path)) if at(obj, path) else NONE
    ),
    "count": lambda path: lambda obj: len(at(obj, path) or ()),
    "flag": lambda path: lambda obj: "true" if at(obj, path) else "false",
    "truth": lambda path: lambda obj: "True" if at(obj, path) else "False",
    "names": lambda path: lambda obj: ",".join(c.get("name", "") for c in at(obj, path) or []),
    "images": lambda path: lambda obj: ",".join(c.get("image", "") for c in at(obj, path) or []),
    "selector": _selector,
    "subjects": _subjects,
    "kind_name": _kind_name,
    "node_address": _node_address,
    "quota": _quota,
    "bool": lambda path: lambda obj: bool(at(obj, path)),
    "words": lambda path: lambda obj: ",".join(at(obj, path) or []) or NONE,
    "audiences": lambda path: (
        lambda obj: ",".join(item.get("audience", "") for item in at(obj, path) or []) or UNSET
    ),
    "access_modes": lambda path: (
        lambda obj: ",".join(
            short for name, short in _ACCESS_MODES.items() if name in (at(obj, path) or [])
        )
    ),
}
