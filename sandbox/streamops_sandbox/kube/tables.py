"""Tables, as `kubectl get` prints them.

Built-in kinds have the columns of `table_columns.yaml`; custom ones those of their definition.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from streamops_sandbox import timestamps
from streamops_sandbox.kube import builtin_schemas, codec, errors, jsonpath
from streamops_sandbox.kube.resources import Resource
from streamops_sandbox.objects import Object, at

Read = Callable[[Object], Any]
#: A column: its definition, and the reader of its cells.
Column = tuple[Object, Read]
NONE = "<none>"


def table(
    objects: list[Object], metadata: Object, resource: Resource, include: str, *, headers: bool
) -> Object:
    """Return the `Table` of some objects; `include` is None, Metadata (the default) or Object."""
    if include not in ("", "None", "Metadata", "Object"):
        raise errors.bad_request(
            "Unable to convert to Table as requested: includeObject: Invalid value: "
            f"\"{include}\": must be 'Metadata', 'Object', 'None', or empty"
        )
    is_scale = bool(objects) and objects[0].get("kind") == "Scale"
    if resource.custom and not is_scale:
        columns = _custom(resource)
    else:
        columns = _builtin().get("Scale" if is_scale else resource.collection) or _builtin()[""]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [definition for definition, _ in columns] if headers else [],
        "rows": [
            {"cells": [read(obj) for _, read in columns], "object": _attached(obj, include)}
            for obj in objects
        ],
    }


def _attached(obj: Object, include: str) -> Object | None:
    if include in ("None", "Object"):
        return obj if include == "Object" else None
    return metadata_only(obj)


def metadata_only(obj: Object) -> Object:
    """Return the `PartialObjectMetadata` of an object."""
    kind = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
    return {**kind, "metadata": obj["metadata"]}


def _definition(name: str, type_: str, priority: int, text: str, form: str = "") -> Object:
    return {
        "name": name, "type": type_, "format": form, "description": text, "priority": priority,
    }  # fmt: skip


def _custom(resource: Resource) -> list[Column]:
    name, (age, read_age) = _builtin()[""]
    columns = [name]
    for source in resource.columns:
        path, type_ = source["jsonPath"], source["type"]
        text = source.get("description") or (
            f"Custom resource definition column (in JSONPath format): {path}"
        )
        shown = (source["name"], type_, source.get("priority", 0), text, source.get("format", ""))
        columns.append((_definition(*shown), partial(_custom_cell, path, type_)))
    return columns if resource.columns else [name, ({**age, "type": "date"}, read_age)]


def _custom_cell(path: str, type_: str, obj: Object) -> Any:
    values = jsonpath.find(obj, path)
    if not values or values[0] is None:
        return "<unknown>" if type_ == "date" else None
    value = values[0]
    if type_ == "date":
        return timestamps.age(value)
    if type_ == "boolean":
        return value if isinstance(value, bool) else None
    if type_ in ("integer", "number"):
        return value if isinstance(value, (int, float)) else None
    return " ".join(str(v).lower() if isinstance(v, bool) else str(v) for v in values)


@lru_cache(maxsize=1)
def _builtin() -> dict[str, list[Column]]:
    """Return the columns by collection, read at first use; "" has those of any other kind."""
    source = codec.data_file("table_columns.yaml")
    documents = builtin_schemas.read_definitions()
    name = ["Name", "metadata.name", "meta.v1.ObjectMeta.name", "name"]
    columns: dict[str, list[Column]] = {}
    for kind, rows in {**source, "": [source["x-age"]]}.items():
        if not kind.startswith("x-"):
            named = any(row[0] == "Name" for row in rows)
            columns[kind] = [_column(documents, *row) for row in (rows if named else [name, *rows])]
    return columns


def _column(documents: Object, title: str, read: str, text: str, flags: str = "") -> Column:
    type_ = next((word for word in flags.split() if word not in ("wide", "name")), "string")
    form = "name" if title == "Name" or "name" in flags else ""
    definition = _definition(title, type_, int("wide" in flags), _described(documents, text), form)
    return definition, _reader(read)


def _described(documents: Object, text: str) -> str:
    """Return a description: the text itself, or that of the field it names."""
    group, _, rest = text.partition(".")
    version, _, field = rest.partition(".")
    prefix = "io.k8s.apimachinery.pkg.apis.meta" if group == "meta" else f"io.k8s.api.{group}"
    name, _, key = field.partition(".")
    found = documents.get(f"{prefix}.{version}.{name}")
    return str(found["properties"][key]["description"]) if found else text


def _reader(text: str) -> Read:
    name, _, path = text.partition(":")
    if name in _FUNCTIONS:
        return _FUNCTIONS[name]
    if name in _OF_VALUES:
        of_value = _OF_VALUES[name]
        return lambda obj: of_value(at(obj, path))
    path, _, default = text.partition("|")
    fallback: Any = int(default) if default.isdigit() else default

    def read(obj: Object) -> Any:
        values = [value for value in jsonpath.find(obj, path) if value not in (None, "")]
        if not values:
            return fallback
        if len(values) == 1 and (isinstance(fallback, int) or isinstance(values[0], bool)):
            return values[0]
        return ",".join(map(str, values))

    return read


def _selector(selector: Object | None) -> str:
    selector = selector or {}
    if not selector.keys() & {"matchLabels", "matchExpressions"}:
        selector = {"matchLabels": selector}
    labels = sorted((selector.get("matchLabels") or {}).items())
    parts = [f"{key}={value}" for key, value in labels]
    for item in selector.get("matchExpressions") or []:
        key, values = item["key"], ",".join(item.get("values") or [])
        forms = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
        parts.append(forms.get(item["operator"], f"!{key}"))
    return ",".join(parts) or NONE


def _subjects(obj: Object, kind: str) -> str:
    found = [item for item in obj.get("subjects") or [] if item.get("kind") == kind]
    space = kind == "ServiceAccount"
    return ", ".join(f"{item.get('namespace', '')}/" * space + item["name"] for item in found)


def _external_ip(obj: Object) -> str:
    addresses, kind = list(at(obj, "spec.externalIPs") or []), at(obj, "spec.type")
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


def _held(obj: Object) -> set[str]:
    """Return the conditions that hold."""
    return {c["type"] for c in at(obj, "status.conditions") or [] if c["status"] == "True"}


def _node_status(obj: Object) -> str:
    text = "Ready" if "Ready" in _held(obj) else "NotReady"
    return text + (",SchedulingDisabled" if at(obj, "spec.unschedulable") else "")


def _node_roles(obj: Object) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = obj["metadata"].get("labels") or {}
    return ",".join(sorted(key.removeprefix(prefix) for key in labels if prefix in key)) or NONE


def _job_status(obj: Object) -> str:
    held = _held(obj)
    if obj["metadata"].get("deletionTimestamp") and not held & {"Complete", "Failed"}:
        return "Terminating"
    known = ("Complete", "Failed", "Suspended", "FailureTarget")
    return next((kind for kind in known if kind in held), "Running")


def _job_completions(obj: Object) -> str:
    succeeded, wanted = at(obj, "status.succeeded") or 0, at(obj, "spec.completions")
    parallel = at(obj, "spec.parallelism") or 1
    several = f" of {parallel}" if wanted is None and parallel > 1 else ""
    return f"{succeeded}/{1 if wanted is None else wanted}{several}"


def _job_duration(obj: Object) -> str:
    start, end = at(obj, "status.startTime"), at(obj, "status.completionTime")
    if not start or not end:
        return timestamps.age(start) if start else ""
    seconds = (timestamps.parse(end) - timestamps.parse(start)).total_seconds()
    return timestamps.human_duration(int(seconds))


def _statuses(pod: Object, key: str) -> list[Object]:
    found: list[Object] = (pod.get("status") or {}).get(key) or []
    return found


def _pod_ready(pod: Object) -> str:
    """Return `1/2`: containers that are ready, and containers there are."""
    count = sum(1 for status in _statuses(pod, "containerStatuses") if status.get("ready"))
    return f"{count}/{len(at(pod, 'spec.containers') or [])}"


def _init_reason(pod: Object) -> str:
    total = len(at(pod, "spec.initContainers") or [])
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
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    if initializing := _init_reason(pod):
        return initializing
    state = pod.get("status") or {}
    reason: str = state.get("reason") or state.get("phase") or ""
    running = False
    for container in reversed(_statuses(pod, "containerStatuses")):
        now = container.get("state") or {}
        ended = now.get("terminated")
        if found := (now.get("waiting") or ended or {}).get("reason"):
            reason = found
        elif ended is not None:
            reason = f"ExitCode:{ended.get('exitCode', 0)}"
        elif container.get("ready") and "running" in now:
            running = True
    if reason == "Completed" and running:
        return "Running" if "Ready" in _held(pod) else "NotReady"
    return reason


def _pod_restarts(pod: Object) -> str:
    """Return how often containers were restarted, and when last."""
    count, last = 0, ""
    for container in _statuses(pod, "containerStatuses"):
        count += container.get("restartCount", 0)
        ended = (container.get("lastState") or {}).get("terminated") or {}
        last = max(last, ended.get("finishedAt") or "")
    return f"{count} ({timestamps.age(last)} ago)" if count and last else str(count)


def _quota(obj: Object, *, limits: bool) -> str:
    """Return what is used of limits, or of everything else."""
    used, hard = (at(obj, f"status.{key}") or {} for key in ("used", "hard"))
    names = [name for name in sorted(hard) if name.startswith("limits.") is limits]
    return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in names)


#: Readers of a whole object.
_FUNCTIONS: dict[str, Read] = {
    "pod_ready": _pod_ready,
    "pod_status": _pod_status,
    "pod_restarts": _pod_restarts,
    "data_count": lambda obj: len(obj.get("data") or ()) + len(obj.get("binaryData") or ()),
    "ready": lambda obj: f"{at(obj, 'status.readyReplicas') or 0}/{at(obj, 'spec.replicas') or 0}",
    "node_status": _node_status,
    "node_roles": _node_roles,
    "external_ip": _external_ip,
    "service_ports": _service_ports,
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
    "job_status": _job_status,
    "job_completions": _job_completions,
    "job_duration": _job_duration,
    "ingress_address": lambda obj: ",".join(_ingress_addresses(obj)),
    "ingress_ports": lambda obj: "80, 443" if at(obj, "spec.tls") else "80",
    "users": lambda obj: _subjects(obj, "User"),
    "groups": lambda obj: _subjects(obj, "Group"),
    "service_accounts": lambda obj: _subjects(obj, "ServiceAccount"),
    "quota_requests": lambda obj: _quota(obj, limits=False),
    "quota_limits": lambda obj: _quota(obj, limits=True),
}
#: Readers of the value at a path.
_OF_VALUES: dict[str, Callable[[Any], Any]] = {
    "age": timestamps.age,
    "age_or_none": lambda value: timestamps.age(value) if value else NONE,
    "count": lambda value: len(value or ()),
    "truth": lambda value: "True" if value else "False",
    "selector": _selector,
    "kind_name": lambda value: f"{value['kind']}/{value['name']}" if value else NONE,
}
