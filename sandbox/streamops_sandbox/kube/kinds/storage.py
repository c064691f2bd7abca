"""Volumes, claims and classes: kept with their defaults; nothing here provisions storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamops_sandbox.kube import clock
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.strategy import Strategy

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

Json = dict[str, Any]
_FIXED = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
    "bound claims"
)


class PersistentVolumeClaims(Strategy):
    """Claims, which stay Pending."""

    returns_deleted = True

    def default(self, obj: Json) -> None:
        """Default to a file system."""
        obj.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Start unbound."""
        obj["status"] = {"phase": "Pending"}

    def validate(self, obj: Json, found: Causes) -> None:
        """Check access modes and size."""
        if not obj["spec"].get("accessModes"):
            found.required("spec.accessModes", "at least 1 access mode is required")
        if not ((obj["spec"].get("resources") or {}).get("requests") or {}).get("storage"):
            found.required("spec.resources[storage]")

    def validate_update(self, obj: Json, old: Json, found: Causes) -> None:
        """Refuse changes of all but the requested size."""
        kept = {**obj["spec"], "resources": None, "volumeName": None}
        if kept != {**old["spec"], "resources": None, "volumeName": None}:
            found.forbidden("spec", _FIXED)


class PersistentVolumes(Strategy):
    """Volumes, which nobody binds."""

    returns_deleted = True

    def default(self, obj: Json) -> None:
        """Default to a file system that is kept when its claim goes."""
        spec = obj.setdefault("spec", {})
        spec.setdefault("volumeMode", "Filesystem")
        spec.setdefault("persistentVolumeReclaimPolicy", "Retain")

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Start unbound."""
        obj["status"] = {"phase": "Pending", "lastPhaseTransitionTime": clock.now()}

    def validate(self, obj: Json, found: Causes) -> None:
        """Check access modes and size."""
        if not obj["spec"].get("accessModes"):
            found.required("spec.accessModes")
        if not obj["spec"].get("capacity"):
            found.required("spec.capacity")


class StorageClasses(Strategy):
    """How volumes would be provisioned."""

    returns_deleted = True

    def default(self, obj: Json) -> None:
        """Provision at once; delete with the claim."""
        obj.setdefault("reclaimPolicy", "Delete")
        obj.setdefault("volumeBindingMode", "Immediate")

    def validate(self, obj: Json, found: Causes) -> None:
        """Check provisioner and policies."""
        if not obj.get("provisioner"):
            found.required("provisioner")
        found.one_of(obj, "reclaimPolicy", "", ("Delete", "Retain"))
        modes = ("Immediate", "WaitForFirstConsumer")
        found.one_of(obj, "volumeBindingMode", "", modes)
