"""Autoscalers, disruption budgets, priority classes, signing requests and storage."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from streamops_sandbox import timestamps
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import function
from streamops_sandbox.kube.kinds.strategy import Strategy
from streamops_sandbox.objects import Object

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

_HIGHEST_USER_PRIORITY = 10**9
_CLAIM_FIXED = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
    "bound claims"
)


@function
def scaling_bounds(spec: Object, field: str, found: Causes, _: Object) -> None:
    """Check an autoscaler's bounds."""
    low, high = spec["minReplicas"], spec.get("maxReplicas", 0)
    if low < 1:
        found.invalid(f"{field}.minReplicas", low, "must be greater than or equal to 1")
    if high < 1:
        found.required(f"{field}.maxReplicas", "must be set and greater than 0")
    if high < low:
        why = "must be greater than or equal to `minReplicas`"
        found.invalid(f"{field}.maxReplicas", high, why)


@function
def scale_target(target: Object | None, field: str, found: Causes, _: Object) -> None:
    """Check the API group of what an autoscaler scales."""
    target = target or {}
    if not target.get("apiVersion") and target.get("kind") != "ReplicationController":
        found.invalid(f"{field}.apiVersion", "", "apiVersion must specify API group")


@function
def budget_bounds(spec: Object | None, field: str, found: Causes, _: Object) -> None:
    """Check that a disruption budget has one bound at most."""
    spec = spec or {}
    low, high = spec.get("minAvailable"), spec.get("maxUnavailable")
    if low is not None and high is not None:
        shown = {
            "MinAvailable": low, "Selector": spec.get("selector"), "MaxUnavailable": high,
            "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy"),
        }  # fmt: skip
        found.invalid(field, shown, "minAvailable and maxUnavailable cannot be both set")


@function
def priority(metadata: Object, _: str, found: Causes, obj: Object) -> None:
    """Check that a priority is not one of the system's."""
    if metadata.get("name", "").startswith("system-"):
        why = "priority class names with 'system-' prefix are reserved for system use only"
        found.forbidden("metadata.name", why)
    elif obj.get("value", 0) > _HIGHEST_USER_PRIORITY:
        why = f"maximum allowed value of a user defined priority is {_HIGHEST_USER_PRIORITY}"
        found.forbidden("value", why)


class PriorityClasses(Strategy):
    """How important pods are."""

    def validate_update(self, obj: Object, old: Object, found: Causes) -> None:
        """Refuse another priority."""
        if obj.get("value", 0) != old.get("value", 0):
            found.forbidden("value", "may not be changed in an update.")


@function
def certificate_request(request: str | None, field: str, found: Causes, _: Object) -> None:
    """Check that a signing request holds one."""
    if b"-----BEGIN CERTIFICATE REQUEST" not in base64.b64decode(request or ""):
        found.invalid(field, request or "", "PEM block type must be CERTIFICATE REQUEST")


@function
def claim_size(spec: Object, field: str, found: Causes, _: Object) -> None:
    """Check that a volume claim asks for some storage."""
    if not ((spec.get("resources") or {}).get("requests") or {}).get("storage"):
        found.required(f"{field}.resources[storage]")


class PersistentVolumeClaims(Strategy):
    """Claims, which stay Pending: nothing here provisions storage."""

    def validate_update(self, obj: Object, old: Object, found: Causes) -> None:
        """Refuse changes of all but the requested size."""
        kept, was = ({**one["spec"], "resources": 0, "volumeName": 0} for one in (obj, old))
        if kept != was:
            found.forbidden("spec", _CLAIM_FIXED)


class PersistentVolumes(Strategy):
    """Volumes, which nobody binds."""

    def prepare_create(self, obj: Object, api: Api) -> None:
        """Start unbound."""
        obj["status"] = {"phase": "Pending", "lastPhaseTransitionTime": timestamps.now()}
