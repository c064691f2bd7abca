"""Built-in kinds in another version than they are kept in: Events of events.k8s.io, and reading autoscaling/v1."""

from __future__ import annotations

import orjson

from streamops_sandbox.objects import Object

_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
#: Fields of a core Event → those of events.k8s.io.
_EVENT_FIELDS = {
    "involvedObject": "regarding", "message": "note", "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp", "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount", "reportingComponent": "reportingController",
}  # fmt: skip


def _renamed(obj: Object, names: dict[str, str], api_version: str) -> Object:
    return {names.get(key, key): value for key, value in obj.items()} | {"apiVersion": api_version}


def event_from_storage(obj: Object) -> Object:
    """Return a core Event as one of events.k8s.io."""
    return _renamed(obj, _EVENT_FIELDS, "events.k8s.io/v1")


def event_to_storage(obj: Object) -> Object:
    """Return an Event of events.k8s.io as a core one."""
    return _renamed(obj, {new: old for old, new in _EVENT_FIELDS.items()}, "v1")


def autoscaler_from_storage(obj: Object) -> Object:
    """Return an autoscaling/v2 object in v1; metrics that v1 has no field for become an annotation."""
    spec = {key: value for key, value in (obj.get("spec") or {}).items() if key != "behavior"}
    metadata = dict(obj["metadata"])
    rest = []
    for metric in spec.pop("metrics", None) or []:
        resource = metric.get("resource") or {}
        target = resource.get("target") or {}
        if resource.get("name") == "cpu" and target.get("type") == "Utilization":
            spec["targetCPUUtilizationPercentage"] = target.get("averageUtilization")
        else:
            rest.append(metric)
    if rest:
        note = {_METRICS: orjson.dumps(rest).decode()}
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **note}
    kept = ("currentReplicas", "desiredReplicas", "lastScaleTime", "observedGeneration")
    status = {key: value for key, value in (obj.get("status") or {}).items() if key in kept}
    return {
        **obj, "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status,
    }  # fmt: skip
