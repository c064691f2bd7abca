"""Volumes, claims and classes: kept with their defaults; nothing here provisions storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamops_sandbox.kube.kinds import rules
from streamops_sandbox.kube.kinds.strategy import Strategy

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

Json = dict[str, Any]


class PersistentVolumeClaims(Strategy):
    """Claims start Pending."""

    def default(self, obj: Json) -> None:
        """A claim is for a file system."""
        obj.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Nothing is bound yet."""
        obj["status"] = {"phase": "Pending"}


class PersistentVolumes(PersistentVolumeClaims):
    """Volumes, too."""

    def default(self, obj: Json) -> None:
        """What people have made by hand is not deleted with its claim."""
        super().default(obj)
        obj["spec"].setdefault("persistentVolumeReclaimPolicy", "Retain")


class StorageClasses(Strategy):
    """How volumes would be provisioned."""

    def default(self, obj: Json) -> None:
        """Volumes are made for a claim at once, and go with it."""
        obj.setdefault("reclaimPolicy", "Delete")
        obj.setdefault("volumeBindingMode", "Immediate")

    def validate(self, obj: Json) -> list[Json]:
        """Policies are those there are."""
        return rules.one_of(
            obj,
            {
                "reclaimPolicy": ("Delete", "Retain"),
                "volumeBindingMode": ("Immediate", "WaitForFirstConsumer"),
            },
        )
