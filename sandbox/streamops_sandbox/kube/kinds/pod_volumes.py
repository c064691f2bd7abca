"""Rules of a pod's volumes, and of how its containers mount them."""

from __future__ import annotations

from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import function
from streamops_sandbox.kube.kinds.pod_environment import field_reference, resource_field
from streamops_sandbox.kube.quantity import parse
from streamops_sandbox.objects import Object

#: Where a container has its pod's volumes while it is checked.
VOLUMES = " volumes"
_HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
_VOLUME_FIELDS = (
    "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
)  # fmt: skip
_MODE_RULE = "must be a number between 0 and 0777 (octal), both inclusive"


@function
def mounts(mounts: list[Object] | None, path: str, found: Causes, container: Object) -> None:
    """Check a container's volume mounts."""
    volumes = {volume.get("name", "") for volume in container[VOLUMES] or []}
    places: set[str] = set()
    for index, mount in enumerate(mounts or []):
        field, name, place = f"{path}[{index}]", mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            found.required(f"{field}.name")
        if name not in volumes:
            found.not_found(f"{field}.name", name)
        if not place:
            found.required(f"{field}.mountPath")
        if place in places:
            found.invalid(f"{field}.mountPath", place, "must be unique")
        places.add(place)
        # As upstream, without the mount's index.
        relative_path(mount.get("subPath", ""), f"{path}.subPath", found)
        if mount.get("subPath") and mount.get("subPathExpr"):
            why = "subPathExpr and subPath are mutually exclusive"
            found.invalid(f"{field}.subPathExpr", mount["subPathExpr"], why)
        relative_path(mount.get("subPathExpr", ""), f"{path}.subPathExpr", found)
        _propagation(mount, path, found, _is_privileged(container))


def _is_privileged(container: Object) -> bool:
    return bool((container.get("securityContext") or {}).get("privileged"))


def _propagation(mount: Object, path: str, found: Causes, privileged: bool) -> None:
    propagation, recursive = mount.get("mountPropagation"), mount.get("recursiveReadOnly")
    found.one_of(mount, "mountPropagation", path, ("Bidirectional", "HostToContainer", "None"))
    if propagation == "Bidirectional" and not privileged:
        why = "Bidirectional mount propagation is available only to privileged containers"
        found.forbidden(f"{path}.mountPropagation", why)
    field = f"{path}.recursiveReadOnly"
    found.one_of(mount, "recursiveReadOnly", path, ("Disabled", "Enabled", "IfPossible"))
    if recursive in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            found.forbidden(field, "may only be specified when readOnly is true")
        if propagation not in (None, "None"):
            why = "may only be specified when mountPropagation is None or not specified"
            found.forbidden(field, why)


@function
def devices(devices: list[Object] | None, path: str, found: Causes, container: Object) -> None:
    """Check that a container's block devices are volumes of a claim."""
    volumes = {volume.get("name", ""): volume for volume in container[VOLUMES] or []}
    for index, device in enumerate(devices or []):
        field, name = f"{path}[{index}].name", device.get("name", "")
        if name not in volumes:
            found.not_found(field, name)
        elif not {"persistentVolumeClaim", "ephemeral"} & volumes[name].keys():
            why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            found.invalid(field, name, why)


def relative_path(path: str, field: str, found: Causes) -> None:
    """Check a path that has to stay below another."""
    if path.startswith("/"):
        found.invalid(field, path, "must be a relative path")
    if ".." in path.split("/"):
        found.invalid(field, path, "must not contain '..'")


@function
def volumes(volumes: list[Object] | None, path: str, found: Causes, _: Object) -> None:
    """Check a pod's volumes."""
    known: set[str] = set()
    for index, volume in enumerate(volumes or []):
        field, name = f"{path}[{index}]", volume.get("name", "")
        # Volume types in the order of the API's fields, which is the order they are checked in.
        given = [key for key in _VOLUME_TYPES if volume.get(key) is not None]
        for key in given[:1]:
            _volume_source(key, volume[key], f"{field}.{key}", found)
        for key in given[1:]:
            found.forbidden(f"{field}.{key}", "may not specify more than 1 volume type")
        if not given:
            found.required(field, "must specify a volume type")
        found.name(f"{field}.name", name, label=True)
        if name in known:
            found.duplicate(f"{field}.name", name)
        known.add(name)


_VOLUME_TYPES = (
    "emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs",
    "iscsi", "glusterfs", "flexVolume", "configMap", "rbd", "cinder", "cephfs", "quobyte", "downwardAPI",
    "fc", "flocker", "persistentVolumeClaim", "azureFile", "vsphereVolume", "photonPersistentDisk",
    "portworxVolume", "azureDisk", "storageos", "projected", "scaleIO", "csi", "ephemeral", "image",
)  # fmt: skip
#: What a volume source has to have.
_VOLUME_KEYS = {
    "hostPath": ("path",), "secret": ("secretName",), "configMap": ("name",), "nfs": ("server", "path"),
    "persistentVolumeClaim": ("claimName",), "csi": ("driver",), "ephemeral": ("volumeClaimTemplate",),
    "image": ("reference",),
}  # fmt: skip


def _volume_source(key: str, source: Object, path: str, found: Causes) -> None:
    missing = [field for field in _VOLUME_KEYS.get(key, ()) if not source.get(field)]
    for field in missing:
        found.required(f"{path}.{field}")
    if key == "emptyDir" and parse(source.get("sizeLimit") or "0") < 0:
        found.forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")
    if key == "nfs" and not source.get("path", "").startswith("/"):
        found.invalid(f"{path}.path", source.get("path", ""), "must be an absolute path")
    if key == "image":
        found.one_of(source, "pullPolicy", path, ("Always", "IfNotPresent", "Never"))
    if key == "hostPath" and not missing:
        if ".." in source["path"].split("/"):
            found.invalid(f"{path}.path", source["path"], "must not contain '..'")
        found.one_of(source, "type", path, _HOST_PATH_TYPES)
    if key in ("secret", "configMap", "projected", "downwardAPI"):
        _mode(source, "defaultMode", path, found)
    if key == "downwardAPI":
        for item in source.get("items") or []:
            _downward_file(item, path, found)  # as upstream, without the item's index
    elif key == "projected":
        _projected(source.get("sources") or [], path, found)
    elif key in ("secret", "configMap"):
        for index, item in enumerate(source.get("items") or []):
            _key_to_path(item, f"{path}.items[{index}]", found)


def _mode(source: Object, key: str, path: str, found: Causes) -> None:
    if source.get(key) is not None and not 0 <= source[key] <= 0o777:
        found.invalid(f"{path}.{key}", source[key], _MODE_RULE)


def _local_path(path: str, field: str, found: Causes) -> None:
    relative_path(path, field, found)
    if path.startswith("..") and not path.startswith("../"):
        found.invalid(field, path, "must not start with '..'")


def _key_to_path(item: Object, field: str, found: Causes) -> None:
    for name in ("key", "path"):
        if not item.get(name):
            found.required(f"{field}.{name}")
    _local_path(item.get("path", ""), f"{field}.path", found)
    _mode(item, "mode", field, found)


def _downward_file(item: Object, field: str, found: Causes) -> None:
    if not item.get("path"):
        found.required(f"{field}.path")
    _local_path(item.get("path", ""), f"{field}.path", found)
    if item.get("fieldRef") is not None:
        field_reference(item["fieldRef"], f"{field}.fieldRef", _VOLUME_FIELDS, found)
    elif item.get("resourceFieldRef") is not None:
        place = f"{field}.resourceFieldRef"
        resource_field(item["resourceFieldRef"], place, found, container=True)
    else:
        found.required(field, "one of fieldRef and resourceFieldRef is required")
    _mode(item, "mode", field, found)


def _projected(sources: list[Object], path: str, found: Causes) -> None:
    used: set[str] = set()
    for index, source in enumerate(sources):
        place = f"{path}.sources[{index}]"
        for key in ("secret", "configMap", "downwardAPI"):
            part, field = source.get(key), f"{place}.{key}"
            if part is None:
                continue
            if key != "downwardAPI" and not part.get("name"):
                found.required(f"{field}.name")
            for number, item in enumerate(part.get("items") or []):
                if key == "downwardAPI":
                    _downward_file(item, field, found)
                else:
                    _key_to_path(item, f"{field}.items[{number}]", found)
                if item.get("path") in used:
                    shown = part.get("name", item["path"])
                    found.invalid(path, shown, "conflicting duplicate paths")
                used |= {item["path"]} if item.get("path") else set()
        token = source.get("serviceAccountToken")
        if token is not None:
            seconds, field = token.get("expirationSeconds", 3600), f"{place}.serviceAccountToken"
            if seconds < 600:
                why = "may not specify a duration less than 10 minutes"
                found.invalid(f"{field}.expirationSeconds", seconds, why)
            if not token.get("path"):
                found.required(f"{path}.path")
            _local_path(token.get("path", ""), f"{path}.path", found)
        if sum(value is not None for value in source.values()) > 1:
            found.forbidden(place, "may not specify more than 1 volume type per source")
