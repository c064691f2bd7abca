"""Rules of containers' environment variables, and of references to fields and keys."""

from __future__ import annotations

import re

from streamops_sandbox.kube import names
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import function
from streamops_sandbox.objects import Object

_ENV_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_ENV_FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
_FIELD_LABELS = (
    *_ENV_FIELDS, "metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName",
    "status.phase",
)  # fmt: skip
_RESOURCE_FIELDS = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu",
    "requests.ephemeral-storage", "requests.memory",
)  # fmt: skip


@function
def value_source(source: Object | None, field: str, found: Causes, _: Object) -> None:
    """Check where the value of an environment variable comes from."""
    given = [key for key in _ENV_SOURCES if (source or {}).get(key) is not None]
    if len(given) > 1:
        found.invalid(field, "", "may not have more than one field specified at a time")
    if source and "fieldRef" in given:
        field_reference(source["fieldRef"], f"{field}.fieldRef", _ENV_FIELDS, found)
    if source and "resourceFieldRef" in given:
        resource_field(source["resourceFieldRef"], f"{field}.resourceFieldRef", found)


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


def resource_field(
    reference: Object, field: str, found: Causes, *, container: bool = False
) -> None:
    """Check a reference to a container's resources."""
    wanted = reference.get("resource", "")
    if container and not reference.get("containerName"):
        found.required(f"{field}.containerName")
    elif not wanted:
        found.required(f"{field}.resource")
    elif wanted not in _RESOURCE_FIELDS and not re.match("(limits|requests).hugepages-", wanted):
        found.unsupported(f"{field}.resource", wanted, _RESOURCE_FIELDS)


@function
def environment_source(source: Object, path: str, found: Causes, _: Object) -> None:
    """Check that an item of `envFrom` has one source."""
    given = [key for key in ("configMapRef", "secretRef") if source.get(key) is not None]
    field = path.rpartition("[")[0]
    # As upstream, without the item's index.
    if not given:
        found.invalid(field, "", "must specify one of: `configMapRef` or `secretRef`")
    elif len(given) > 1:
        found.invalid(field, "", "may not have more than one field specified at a time")
