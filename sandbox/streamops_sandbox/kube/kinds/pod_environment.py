"""Rules of containers' environment variables, and of references to fields and keys."""

from __future__ import annotations

import re

from streamops_sandbox.kube import names
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import function
from streamops_sandbox.objects import Object

_ENV_FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
_FIELD_LABELS = (
    *_ENV_FIELDS, "metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName",
    "status.phase",
)  # fmt: skip
_HUGE_PAGES = "(limits|requests).hugepages-"
_RESOURCE_FIELDS = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu",
    "requests.ephemeral-storage", "requests.memory",
)  # fmt: skip


@function
def environment_field(reference: Object | None, field: str, found: Causes, _: Object) -> None:
    """Check which field of the pod a variable is."""
    if reference is not None:
        field_reference(reference, field, _ENV_FIELDS, found)


def field_reference(reference: Object, field: str, allowed: tuple[str, ...], found: Causes) -> None:
    """Check a reference to a field of the pod."""
    wanted = reference.get("fieldPath", "")
    subscript = re.fullmatch(r"metadata\.(labels|annotations)\['(.*)'\]", wanted)
    if not wanted:
        found.required(f"{field}.fieldPath")
    elif subscript:
        key = subscript[2].lower() if subscript[1] == "annotations" else subscript[2]
        found.problems(field, key, names.label_key_problems(key))
    elif wanted not in _FIELD_LABELS:
        why = f"error converting fieldPath: field label not supported: {wanted}"
        found.invalid(f"{field}.fieldPath", wanted, why)
    elif wanted not in allowed:
        found.unsupported(f"{field}.fieldPath", wanted, allowed)


@function
def resource_field(reference: Object | None, field: str, found: Causes, _: Object) -> None:
    """Check a reference to a container's resources."""
    wanted = (reference or {}).get("resource", "")
    if reference is not None and not wanted:
        found.required(f"{field}.resource")
    elif wanted and wanted not in _RESOURCE_FIELDS and not re.match(_HUGE_PAGES, wanted):
        found.unsupported(f"{field}.resource", wanted, _RESOURCE_FIELDS)
