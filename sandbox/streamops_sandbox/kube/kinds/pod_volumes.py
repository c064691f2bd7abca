"""Rules of a pod's volumes, and of how its containers mount them."""

from __future__ import annotations

from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import check_shape, function, relative_path
from streamops_sandbox.kube.kinds.pod_environment import field_reference
from streamops_sandbox.kube.quantity import parse
from streamops_sandbox.objects import Object

_VOLUME_FIELDS = (
    "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
)  # fmt: skip


@function
def mounts(container: Object, path: str, found: Causes, spec: Object) -> None:
    """Check which of its pod's volumes a container mounts where, and which are its block devices."""
    volumes = {volume.get("name", ""): volume for volume in spec.get("volumes") or []}
    places: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or []):
        field, name = f"{path}.volumeMounts[{index}]", mount.get("name", "")
        place = mount.get("mountPath", "")
        if not name:
            found.required(f"{field}.name")
        if name not in volumes:
            found.not_found(f"{field}.name", name)
        if not place:
            found.required(f"{field}.mountPath")
        if place in places:
            found.invalid(f"{field}.mountPath", place, "must be unique")
        places.add(place)
    for index, device in enumerate(container.get("volumeDevices") or []):
        if device.get("name") not in volumes:
            found.not_found(f"{path}.volumeDevices[{index}].name", device.get("name", ""))


@function
def size_limit(amount: str | None, field: str, found: Causes, _: object) -> None:
    """Check the size of an empty volume."""
    if parse(amount or "0") < 0:
        found.forbidden(field, "SizeLimit field must be a valid resource quantity")


@function
def local_path(path: str | None, field: str, found: Causes, _: object) -> None:
    """Check the path of a file in a volume."""
    relative_path(path or "", field, found)
    if path and path.startswith("..") and not path.startswith("../"):
        found.invalid(field, path, "must not start with '..'")


@function
def downward_files(items: list[Object] | None, field: str, found: Causes, _: object) -> None:
    """Check the files of a pod's own fields."""
    for item in items or []:
        # As upstream, without the index.
        check_shape(item, "downward_file", found, field.removesuffix(".items"))


@function
def volume_field(reference: Object | None, field: str, found: Causes, _: object) -> None:
    """Check which field of the pod a file has."""
    if reference is not None:
        field_reference(reference, field, _VOLUME_FIELDS, found)


@function
def projected(volume: Object, path: str, found: Causes, _: object) -> None:
    """Check the sources of a projected volume."""
    used: set[str] = set()
    for index, source in enumerate(volume.get("sources") or []):
        place = f"{path}.sources[{index}]"
        for key in ("secret", "configMap", "downwardAPI"):
            part, field = source.get(key), f"{place}.{key}"
            if part is None:
                continue
            if key != "downwardAPI" and not part.get("name"):
                found.required(f"{field}.name")
            for number, item in enumerate(part.get("items") or []):
                if key == "downwardAPI":
                    check_shape(item, "downward_file", found, field)
                else:
                    check_shape(item, "key_to_path", found, f"{field}.items[{number}]")
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
            local_path(token.get("path"), f"{path}.path", found, token)
        if sum(value is not None for value in source.values()) > 1:
            found.forbidden(place, "may not specify more than 1 volume type per source")
