"""Autoscalers, disruption budgets, priority classes, signing requests and storage."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from streamops_sandbox import timestamps
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import function
from streamops_sandbox.kube.kinds.strategy import Strategy
from streamops_sandbox.kube.quantity import parse
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
    """Check that an autoscaler has room between its bounds."""
    if spec.get("maxReplicas", 0) < spec["minReplicas"]:
        why = "must be greater than or equal to `minReplicas`"
        found.invalid(f"{field}.maxReplicas", spec.get("maxReplicas", 0), why)


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
def claim(spec: Object, field: str, found: Causes, _: Object) -> None:
    """Check how a volume is used, and that a claim asks for some storage."""
    known = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
    for mode in spec.get("accessModes") or []:
        if mode not in known:
            found.unsupported(f"{field}.accessModes", mode, known)
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if size is None:
        found.required(f"{field}.resources[storage]")
    elif parse(size) <= 0:
        found.invalid(f"{field}.resources[storage]", size, "must be greater than zero")


@function
def class_parameters(parameters: Object | None, field: str, found: Causes, _: Object) -> None:
    """Check that each parameter of a storage class has a name."""
    if "" in (parameters or {}):
        found.invalid(field, "", "field can not be empty.")


class Storage(Strategy):
    """Claims and volumes, which stay unbound: nothing here provisions storage.

    They are protected while they are in use, and nothing uses them; so a deletion has no more than to end that.
    """

    def __init__(self, rules: Object | None = None, *, finalizer: str) -> None:
        super().__init__(rules)
        self._finalizer = finalizer

    def prepare_create(self, obj: Object, api: Api) -> None:
        """Start unbound and protected."""
        super().prepare_create(obj, api)
        if obj["kind"] == "PersistentVolume":
            obj["status"]["lastPhaseTransitionTime"] = timestamps.now()
        metadata = obj["metadata"]
        kept = [item for item in metadata.get("finalizers") or [] if item != self._finalizer]
        metadata["finalizers"] = [*kept, self._finalizer]

    def validate_update(self, obj: Object, old: Object, found: Causes) -> None:
        """Refuse changes of a claim, but of the requested size."""
        kept, was = ({**one["spec"], "resources": 0, "volumeName": 0} for one in (obj, old))
        if obj["kind"] == "PersistentVolumeClaim" and kept != was:
            found.forbidden("spec", _CLAIM_FIXED)

    def written(self, obj: Object, old: Object | None, api: Api) -> None:
        """End the protection of what is being deleted."""
        metadata = obj["metadata"]
        if not metadata.get("deletionTimestamp") or self._finalizer not in metadata.get(
            "finalizers", []
        ):
            return
        kind = "persistentvolumeclaims" if "namespace" in metadata else "persistentvolumes"
        rest = [item for item in metadata["finalizers"] if item != self._finalizer]
        if rest:
            api.store.put(kind, {**obj, "metadata": {**metadata, "finalizers": rest}})
        else:
            api.store.remove(kind, metadata.get("namespace", ""), metadata["name"])
