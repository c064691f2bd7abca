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
_ENV_NAME = re.compile(r"[ -<>-~]+\Z")
_ENV_RULE = "a valid environment variable name must consist only of printable ASCII characters other than '='"
_RESOURCE_FIELDS = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu",
    "requests.ephemeral-storage", "requests.memory",
)  # fmt: skip


@function
def variable(variable: Object, path: str, found: Causes, _: Object) -> None:
    """Check an environment variable."""
    name = variable.get("name", "")
    if not name:
        found.required(f"{path}.name")
    elif not _ENV_NAME.match(name):
        found.invalid(f"{path}.name", name, _ENV_RULE)
    source = variable.get("valueFrom")
    if source is None:
        return
    field = f"{path}.valueFrom"
    given = [key for key in _ENV_SOURCES if source.get(key) is not None]
    if not given:
        choices = (
            "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        )
        found.invalid(field, "", f"must specify one of: {choices}")
    elif variable.get("value"):
        found.invalid(field, "", "may not be specified when `value` is not empty")
    elif len(given) > 1:
        found.invalid(field, "", "may not have more than one field specified at a time")
    for key in ("configMapKeyRef", "secretKeyRef"):
        if key in given:
            name = source[key].get("name", "")
            found.problems(f"{field}.{key}.name", name, names.subdomain(name) if name else ())
            _config_key(source[key].get("key", ""), f"{field}.{key}.key", found)
    if "fieldRef" in given:
        field_reference(source["fieldRef"], f"{field}.fieldRef", _ENV_FIELDS, found)
    if "resourceFieldRef" in given:
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


def _config_key(key: str, field: str, found: Causes) -> None:
    if not key:
        found.required(field)
    elif not re.fullmatch(r"[-._a-zA-Z0-9]+", key):
        found.invalid(field, key, CONFIG_KEY_RULE)


CONFIG_KEY_RULE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  "
    "or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)


@function
def environment_source(source: Object, path: str, found: Causes, _: Object) -> None:
    """Check an item of `envFrom`."""
    prefix, field = source.get("prefix", ""), path.rpartition("[")[0]
    if prefix and not _ENV_NAME.match(prefix):
        found.invalid(f"{path}.prefix", prefix, _ENV_RULE)
    given = [key for key in ("configMapRef", "secretRef") if source.get(key) is not None]
    for key in given:
        name = source[key].get("name", "")
        found.problems(f"{path}.{key}.name", name, names.subdomain(name) if name else ())
    # As upstream, without the item's index.
    if not given:
        found.invalid(field, "", "must specify one of: `configMapRef` or `secretRef`")
    elif len(given) > 1:
        found.invalid(field, "", "may not have more than one field specified at a time")
