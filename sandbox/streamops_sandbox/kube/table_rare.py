"""The printed columns of the kinds people look at less often."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamops_sandbox.kube import clock
from streamops_sandbox.kube.table_parts import (
    AGE,
    UNSET,
    BuiltinColumn,
    Columns,
    Json,
    at,
    containers_at,
    count_at,
    field_at,
    labels_text,
    number_at,
    selector_at,
    wide,
)

_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _access_modes(*path: str) -> Callable[[Json], str]:
    return lambda obj: ",".join(_MODES[mode] for mode in at(obj, *path) or [])


def _claim(volume: Json) -> str:
    reference = at(volume, "spec", "claimRef")
    return f"{reference.get('namespace', '')}/{reference.get('name', '')}" if reference else ""


def _phase(obj: Json) -> str:
    leaving = obj["metadata"].get("deletionTimestamp")
    return "Terminating" if leaving else str(at(obj, "status", "phase") or "")


def _class_name(storage_class: Json) -> str:
    metadata = storage_class["metadata"]
    is_default = (metadata.get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
    return f"{metadata['name']} (default)" if is_default else str(metadata["name"])


def _quota(limits: bool) -> Callable[[Json], str]:
    def read(obj: Json) -> str:
        hard, used = at(obj, "status", "hard") or {}, at(obj, "status", "used") or {}
        names = [name for name in sorted(hard) if name.startswith("limits.") == limits]
        return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in names)

    return read


def _parameters(obj: Json) -> str:
    found = at(obj, "spec", "parameters")
    if not found:
        return "<none>"
    group = f".{found['apiGroup']}" if found.get("apiGroup") else ""
    return f"{found.get('kind', '')}{group}/{found.get('name', '')}"


def _request_condition(obj: Json) -> str:
    """`Approved,Issued`, as kubectl users read a certificate's way."""
    held = [entry["type"] for entry in at(obj, "status", "conditions") or []]
    if at(obj, "status", "certificate"):
        held.append("Issued")
    return ",".join(held) or "Pending"


def _requested_duration(obj: Json) -> str:
    seconds = at(obj, "spec", "expirationSeconds")
    return "<none>" if seconds is None else clock.human_duration(seconds)


def _owner(obj: Json) -> str:
    for owner in obj["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            group = owner["apiVersion"].rpartition("/")[0]
            return f"{owner['kind'].lower()}{'.' + group if group else ''}/{owner['name']}"
    return "<none>"


def _truth(name: str, *path: str, default: bool = False) -> BuiltinColumn:
    read = field_at(*path, default=default)
    return BuiltinColumn(name, lambda obj: str(read(obj)).lower(), "boolean")


def _text(name: str, *path: str, default: Any = "") -> BuiltinColumn:
    return BuiltinColumn(name, field_at(*path, default=default))


#: What the `scale` subresource of any kind looks like.
SCALE: Columns = (
    number_at("Desired", "spec", "replicas"),
    number_at("Available", "status", "replicas"),
    AGE,
)

COLUMNS: dict[str, Columns] = {
    "certificatesigningrequests.certificates.k8s.io": (
        AGE,
        _text("SignerName", "spec", "signerName"),
        _text("Requestor", "spec", "username"),
        BuiltinColumn("RequestedDuration", _requested_duration),
        BuiltinColumn("Condition", _request_condition),
    ),
    "controllerrevisions.apps": (
        BuiltinColumn("Controller", _owner),
        BuiltinColumn("Revision", field_at("revision", default=0), "integer"),
        AGE,
    ),
    "csidrivers.storage.k8s.io": (
        _truth("AttachRequired", "spec", "attachRequired", default=True),
        _truth("PodInfoOnMount", "spec", "podInfoOnMount"),
        _truth("StorageCapacity", "spec", "storageCapacity"),
        BuiltinColumn(
            "TokenRequests",
            lambda obj: (
                ",".join(entry["audience"] for entry in at(obj, "spec", "tokenRequests") or [])
                or UNSET
            ),
        ),
        _truth("RequiresRepublish", "spec", "requiresRepublish"),
        BuiltinColumn(
            "Modes",
            lambda obj: ",".join(at(obj, "spec", "volumeLifecycleModes") or ["Persistent"]),
        ),
        AGE,
    ),
    "csinodes.storage.k8s.io": (
        BuiltinColumn("Drivers", count_at("spec", "drivers"), "integer"),
        AGE,
    ),
    "ingressclasses.networking.k8s.io": (
        _text("Controller", "spec", "controller"),
        BuiltinColumn("Parameters", _parameters),
        AGE,
    ),
    "limitranges": (_text("Created At", "metadata", "creationTimestamp"),),
    "networkpolicies.networking.k8s.io": (
        BuiltinColumn("Pod-Selector", selector_at("spec", "podSelector")),
        AGE,
    ),
    "persistentvolumeclaims": (
        BuiltinColumn("Status", _phase),
        _text("Volume", "spec", "volumeName"),
        _text("Capacity", "status", "capacity", "storage"),
        BuiltinColumn("Access Modes", _access_modes("status", "accessModes")),
        _text("StorageClass", "spec", "storageClassName"),
        _text("VolumeAttributesClass", "spec", "volumeAttributesClassName", default=UNSET),
        AGE,
        wide("VolumeMode", field_at("spec", "volumeMode", default=UNSET)),
    ),
    "persistentvolumes": (
        _text("Capacity", "spec", "capacity", "storage"),
        BuiltinColumn("Access Modes", _access_modes("spec", "accessModes")),
        _text("Reclaim Policy", "spec", "persistentVolumeReclaimPolicy"),
        BuiltinColumn("Status", _phase),
        BuiltinColumn("Claim", _claim),
        _text("StorageClass", "spec", "storageClassName"),
        _text("VolumeAttributesClass", "spec", "volumeAttributesClassName", default=UNSET),
        _text("Reason", "status", "reason"),
        AGE,
        wide("VolumeMode", field_at("spec", "volumeMode", default=UNSET)),
    ),
    "podtemplates": (
        BuiltinColumn("Containers", containers_at(("template", "spec", "containers"), "name")),
        BuiltinColumn("Images", containers_at(("template", "spec", "containers"), "image")),
        BuiltinColumn(
            "Pod Labels", lambda obj: labels_text(at(obj, "template", "metadata", "labels"))
        ),
    ),
    "priorityclasses.scheduling.k8s.io": (
        BuiltinColumn("Value", field_at("value", default=0), "integer"),
        _truth("Global-Default", "globalDefault"),
        AGE,
        _text("PreemptionPolicy", "preemptionPolicy", default=UNSET),
    ),
    "replicationcontrollers": (
        number_at("Desired", "spec", "replicas"),
        number_at("Current", "status", "replicas"),
        number_at("Ready", "status", "readyReplicas"),
        AGE,
        wide("Containers", containers_at(("spec", "template", "spec", "containers"), "name")),
        wide("Images", containers_at(("spec", "template", "spec", "containers"), "image")),
        wide("Selector", selector_at("spec", "selector")),
    ),
    "resourcequotas": (
        BuiltinColumn("Request", _quota(False)),
        BuiltinColumn("Limit", _quota(True)),
        AGE,
    ),
    "runtimeclasses.node.k8s.io": (_text("Handler", "handler"), AGE),
    "storageclasses.storage.k8s.io": (
        BuiltinColumn("Name", _class_name),
        _text("Provisioner", "provisioner"),
        _text("ReclaimPolicy", "reclaimPolicy", default="Delete"),
        _text("VolumeBindingMode", "volumeBindingMode", default="Immediate"),
        _truth("AllowVolumeExpansion", "allowVolumeExpansion"),
        AGE,
    ),
    "volumeattachments.storage.k8s.io": (
        _text("Attacher", "spec", "attacher"),
        _text("PV", "spec", "source", "persistentVolumeName"),
        _text("Node", "spec", "nodeName"),
        _truth("Attached", "status", "attached"),
        AGE,
    ),
}
