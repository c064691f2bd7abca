"""Built-in kinds in another version than they are kept in: autoscaling/v1, and Events of events.k8s.io."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson

from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.strategy import Strategy
from streamops_sandbox.objects import Object

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

Convert = Callable[[Object], Object]
_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
#: Fields of a core Event → those of events.k8s.io.
_EVENT_FIELDS = {
    "involvedObject": "regarding", "message": "note", "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp", "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount", "reportingComponent": "reportingController",
}  # fmt: skip
_EVENT_REQUIRED = ("reportingController", "reportingInstance", "action", "reason")


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
        **obj,
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }


def autoscaler_to_storage(obj: Object) -> Object:
    """Return an autoscaling/v1 object in v2."""
    spec, metadata = dict(obj.get("spec") or {}), dict(obj["metadata"])
    annotations = dict(metadata.get("annotations") or {})
    metrics = orjson.loads(annotations.pop(_METRICS, "[]"))
    wanted = spec.pop("targetCPUUtilizationPercentage", None)
    if wanted is not None:
        target = {"type": "Utilization", "averageUtilization": wanted}
        metrics.insert(0, {"type": "Resource", "resource": {"name": "cpu", "target": target}})
    if metrics:
        spec["metrics"] = metrics
    if "annotations" in metadata:
        metadata["annotations"] = annotations
    return {**obj, "apiVersion": "autoscaling/v2", "metadata": metadata, "spec": spec}


class Converted(Strategy):
    """The strategy of a kind, for a version it is not kept in."""

    def __init__(self, kept: Strategy, from_storage: Convert, to_storage: Convert) -> None:
        super().__init__()
        self._kept = kept
        self._from, self._to = from_storage, to_storage
        self.tracks_generation = kept.tracks_generation
        self.returns_deleted = kept.returns_deleted
        self.has_rules = kept.has_rules

    def _change(self, obj: Object, change: Callable[[Object], None]) -> None:
        kept = self._to(obj)
        change(kept)
        shown = self._from(kept)
        obj.clear()
        obj.update(shown)

    def default(self, obj: Object) -> None:
        """Fill in the defaults of the version that is kept."""
        self._change(obj, self._kept.default)

    def prepare_create(self, obj: Object, api: Api) -> None:
        """Set what the server decides at creation."""
        self._change(obj, lambda kept: self._kept.prepare_create(kept, api))

    def validate(self, obj: Object, found: Causes) -> None:
        """Check the version that is kept."""
        self._kept.validate(self._to(obj), found)

    def written(self, obj: Object, old: Object | None, api: Api) -> None:
        """React as the version that is kept does."""
        self._kept.written(obj, old, api)


class NewEvents(Converted):
    """Events of events.k8s.io, which is stricter than the core's about new ones."""

    def validate(self, obj: Object, found: Causes) -> None:
        """Check that the event says when, by whom and what."""
        super().validate(obj, found)
        if not obj.get("eventTime"):
            found.required("eventTime")
        for key in _EVENT_REQUIRED if obj.get("eventTime") else ():
            if not obj.get(key):
                found.required(key)
        if obj.get("type") not in ("Normal", "Warning"):
            found.invalid("type", "", f"has invalid value: {obj.get('type', '')}")
