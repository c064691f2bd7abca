"""Claims of storage, and volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamops_sandbox import timestamps
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.strategy import Strategy
from streamops_sandbox.objects import Object

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

_FINALIZERS = {
    "PersistentVolumeClaim": "kubernetes.io/pvc-protection",
    "PersistentVolume": "kubernetes.io/pv-protection",
}
_CLAIM_FIXED = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
    "bound claims"
)


class Storage(Strategy):
    """Claims and volumes, which stay unbound: nothing here provisions storage.

    They are protected while they are in use, and nothing uses them; so a deletion has no more than to end that.
    """

    def prepare_create(self, obj: Object, api: Api) -> None:
        """Start unbound and protected."""
        super().prepare_create(obj, api)
        if obj["kind"] == "PersistentVolume":
            obj["status"]["lastPhaseTransitionTime"] = timestamps.now()
        metadata, own = obj["metadata"], _FINALIZERS[obj["kind"]]
        kept = [item for item in metadata.get("finalizers") or [] if item != own]
        metadata["finalizers"] = [*kept, own]

    def validate_update(self, obj: Object, old: Object, found: Causes) -> None:
        """Refuse changes of a claim, but of the requested size."""
        kept, was = ({**one["spec"], "resources": 0, "volumeName": 0} for one in (obj, old))
        if obj["kind"] == "PersistentVolumeClaim" and kept != was:
            found.forbidden("spec", _CLAIM_FIXED)

    def written(self, obj: Object, old: Object | None, api: Api) -> None:
        """End the protection of what is being deleted."""
        metadata, own = obj["metadata"], _FINALIZERS[obj["kind"]]
        finalizers = metadata.get("finalizers", [])
        if not metadata.get("deletionTimestamp") or own not in finalizers:
            return
        kind = "persistentvolumeclaims" if "namespace" in metadata else "persistentvolumes"
        rest = [item for item in finalizers if item != own]
        if rest:
            api.store.put(kind, {**obj, "metadata": {**metadata, "finalizers": rest}})
        else:
            api.store.remove(kind, metadata.get("namespace", ""), metadata["name"])
