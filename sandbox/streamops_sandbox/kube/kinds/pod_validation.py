"""Rules of pod specs, in the order of kubernetes/pkg/apis/core/validation/validation.go."""

from __future__ import annotations

import re
from typing import Any

from streamops_sandbox.kube import names
from streamops_sandbox.kube.kinds import declared
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import function
from streamops_sandbox.kube.quantity import parse
from streamops_sandbox.objects import Object

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
#: Where a container has its pod's volumes while it is checked.
_VOLUMES = " volumes"
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_LIFECYCLE_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")
_HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
_ENV_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_ENV_FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
_FIELD_LABELS = (
    *_ENV_FIELDS, "metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName",
    "status.phase",
)  # fmt: skip
#: Resources that may be requested without a prefix.
_RESOURCES = ("cpu", "ephemeral-storage", "memory")
_NO_OVERCOMMIT = re.compile(r"hugepages-|.*/")
_HEADER = re.compile(r"[-A-Za-z0-9]+\Z")
_HEADER_RULE = (
    "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex "
    "used for validation is '[-A-Za-z0-9]+')"
)
_ENV_NAME = re.compile(r"[ -<>-~]+\Z")
_ENV_RULE = "a valid environment variable name must consist only of printable ASCII characters other than '='"
_CONTAINER_RESTART = ("Always", "Never", "OnFailure")
_ONLY_RESTARTED = "may not be set for init containers without restartPolicy=Always"
_RESOURCE_FIELDS = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu",
    "requests.ephemeral-storage", "requests.memory",
)  # fmt: skip
_VOLUME_FIELDS = (
    "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
)  # fmt: skip
_SECURITY_FIELDS = (
    "capabilities", "privileged", "seLinuxOptions", "windowsOptions", "runAsUser", "runAsGroup",
    "runAsNonRoot", "readOnlyRootFilesystem", "allowPrivilegeEscalation", "procMount", "seccompProfile",
    "appArmorProfile",
)  # fmt: skip
_MODE_RULE = "must be a number between 0 and 0777 (octal), both inclusive"
_SYSCTL = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
_SECCOMP_ANNOTATION = "seccomp.security.alpha.kubernetes.io/pod"


def validate(
    spec: Object, field: str, found: Causes, metadata: Object | None = None, meta_field: str = ""
) -> None:
    """Collect the violations of a pod spec at a path; `metadata` is the pod's or the template's."""
    declared.check_shape(spec, "podspec", found, field)
    profile = ((metadata or {}).get("annotations") or {}).get(_SECCOMP_ANNOTATION)
    known = ("runtime/default", "docker/default", "unconfined")
    if profile and profile not in known and not profile.startswith("localhost/"):
        path = f"{meta_field}annotations.{_SECCOMP_ANNOTATION}"
        found.invalid(path, profile, "must be a valid seccomp profile")


def warnings(spec: Object, field: str, metadata: Object) -> list[str]:
    """Return what is deprecated or doubtful in a pod spec (kubernetes/pkg/api/pod/warnings.go)."""
    found = []
    for key in spec.get("nodeSelector") or {}:
        name = key.removeprefix("beta.")
        if key.startswith("beta.kubernetes.io/") and name in (
            "kubernetes.io/os",
            "kubernetes.io/arch",
        ):
            text = f'deprecated since v1.14; use "{name}" instead'
            found.append(f"{field}.nodeSelector[{key}]: {text}")
    for list_name in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(list_name) or []):
            seen: set[str] = set()
            for number, variable in enumerate(container.get("env") or []):
                if variable.get("name") in seen:
                    place = f"{field}.{list_name}[{index}].env[{number}]"
                    text = f'hides previous definition of "{variable["name"]}", which may be dropped when using apply'
                    found.append(f"{place}: {text}")
                seen.add(variable.get("name", ""))
    return found


@function
def containers(_: Any, field: str, found: Causes, spec: Object) -> None:
    """Check containers and init containers."""
    field = field.removesuffix(".containers")
    if not spec.get("containers"):
        found.required(f"{field}.containers")
    seen: set[str] = set()
    grace = spec.get("terminationGracePeriodSeconds")
    for list_name in ("containers", "initContainers"):
        host_ports: set[str] = set()
        items = spec.get(list_name) or []
        for index, container in enumerate(items):
            path, name = f"{field}.{list_name}[{index}]", container.get("name", "")
            declared.check_shape(
                {**container, _VOLUMES: spec.get("volumes")}, "container", found, path
            )
            if name in seen:
                found.duplicate(f"{path}.name", name)
            seen.add(name)
            restartable = container.get("restartPolicy") == "Always" or list_name == "containers"
            if list_name == "initContainers":
                found.one_of(container, "restartPolicy", path, _CONTAINER_RESTART)
            if container.get("lifecycle") is not None and not restartable:
                found.forbidden(f"{path}.lifecycle", _ONLY_RESTARTED)
            for key in ("postStart", "preStop") if restartable else ():
                handler = (container.get("lifecycle") or {}).get(key)
                if handler is not None:
                    _one_handler(
                        handler, f"{path}.lifecycle.{key}", _LIFECYCLE_HANDLERS, found, grace
                    )
            for key in [key for key in PROBES if container.get(key) is not None]:
                if restartable:
                    _probe(container[key], f"{path}.{key}", key, found)
                else:
                    found.forbidden(f"{path}.{key}", _ONLY_RESTARTED)
            if list_name == "containers":
                found.one_of(container, "restartPolicy", path, _CONTAINER_RESTART)
        for index, container in enumerate(items):
            for number, port in enumerate(container.get("ports") or []):
                if port.get("hostPort"):
                    key = (
                        f"{port.get('protocol', 'TCP')}/{port.get('hostIP', '')}/{port['hostPort']}"
                    )
                    if key in host_ports:
                        place = f"{field}.{list_name}[{index}].ports[{number}].hostPort"
                        found.duplicate(place, key)
                    host_ports.add(key)


@function
def container_ports(ports: list[Object] | None, path: str, found: Causes, _: Object) -> None:
    """Check a container's ports."""
    seen: set[str] = set()
    for index, port in enumerate(ports or []):
        field, name = f"{path}[{index}]", port.get("name")
        if name:
            problems = names.port_name(name)
            found.problems(f"{field}.name", name, problems)
            if not problems and name in seen:
                found.duplicate(f"{field}.name", name)
            seen.add(name)
        number = port.get("containerPort", 0)
        if number == 0:
            found.required(f"{field}.containerPort")
        else:
            found.between(f"{field}.containerPort", number, 1, 65535)
        if port.get("hostPort"):
            found.between(f"{field}.hostPort", port["hostPort"], 1, 65535)
        found.one_of(port, "protocol", field, _PROTOCOLS)


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
        _field_reference(source["fieldRef"], f"{field}.fieldRef", _ENV_FIELDS, found)
    if "resourceFieldRef" in given:
        _resource_field(source["resourceFieldRef"], f"{field}.resourceFieldRef", found)


def _field_reference(
    reference: Object, field: str, allowed: tuple[str, ...], found: Causes
) -> None:
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


def _resource_field(
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


@function
def mounts(mounts: list[Object] | None, path: str, found: Causes, container: Object) -> None:
    """Check a container's volume mounts."""
    volumes = {volume.get("name", "") for volume in container[_VOLUMES] or []}
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
        _relative(mount.get("subPath", ""), f"{path}.subPath", found)
        if mount.get("subPath") and mount.get("subPathExpr"):
            why = "subPathExpr and subPath are mutually exclusive"
            found.invalid(f"{field}.subPathExpr", mount["subPathExpr"], why)
        _relative(mount.get("subPathExpr", ""), f"{path}.subPathExpr", found)
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
    volumes = {volume.get("name", ""): volume for volume in container[_VOLUMES] or []}
    for index, device in enumerate(devices or []):
        field, name = f"{path}[{index}].name", device.get("name", "")
        if name not in volumes:
            found.not_found(field, name)
        elif not {"persistentVolumeClaim", "ephemeral"} & volumes[name].keys():
            why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            found.invalid(field, name, why)


@function
def resizing(policies: list[Object] | None, path: str, found: Causes, _: Object) -> None:
    """Check how a container's resources may change."""
    for policy in policies or []:
        found.one_of({path: policy.get("resourceName")}, path, "", ("cpu", "memory"))
        choices = ("NotRequired", "RestartContainer")
        found.one_of({path: policy.get("restartPolicy")}, path, "", choices)


def _relative(path: str, field: str, found: Causes) -> None:
    if path.startswith("/"):
        found.invalid(field, path, "must be a relative path")
    if ".." in path.split("/"):
        found.invalid(field, path, "must not contain '..'")


@function
def resources(requirements: Object | None, path: str, found: Causes, _: Object) -> None:
    """Check limits and requests against each other."""
    limits, requests = ((requirements or {}).get(key) or {} for key in ("limits", "requests"))
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            field = f"{path}.{kind}[{name}]"
            _resource_name(name, field, found)
            if parse(amount) < 0:
                found.invalid(field, amount, "must be greater than or equal to 0")
            if "/" in name and parse(amount) % 1:
                found.invalid(field, amount, "must be an integer")
            if kind == "requests":
                _against_limit(name, amount, limits.get(name), path, found)
    both = limits.keys() | requests.keys()
    huge = any(name.startswith("hugepages-") for name in both)
    if huge and not both & {"cpu", "memory"}:
        found.forbidden(path, "HugePages require cpu or memory")
    for index, claim in enumerate((requirements or {}).get("claims") or []):
        why = "must be one of the names in pod.spec.resourceClaims which is empty"
        found.not_found(f"{path}.claims[{index}]", claim.get("name", ""))
        found[-1]["message"] += f": {why}"


def _resource_name(name: str, field: str, found: Causes) -> None:
    found.problems(field, name, names.label_key_problems(name))
    if "/" not in name and name not in _RESOURCES and not name.startswith("hugepages-"):
        if not names.label_key_problems(name):
            found.invalid(field, name, "must be a standard resource type or fully qualified")
        found.invalid(field, name, "must be a standard resource for containers")


def _against_limit(name: str, amount: str, limit: str | None, path: str, found: Causes) -> None:
    only_whole = _NO_OVERCOMMIT.match(name)
    if limit is None:
        if only_whole:
            why = "Limit must be set for non overcommitable resources"
            found.required(f"{path}.limits", why)
    elif only_whole and parse(amount) != parse(limit):
        found.invalid(f"{path}.requests", amount, f"must be equal to {name} limit of {limit}")
    elif parse(amount) > parse(limit):
        why = f"must be less than or equal to {name} limit of {limit}"
        found.invalid(f"{path}.requests", amount, why)


def _probe(probe: Object, path: str, kind: str, found: Causes) -> None:
    _one_handler(probe, path, _HANDLERS, found, None)
    found.not_negative(
        probe, path, "initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold",
        "failureThreshold",
    )  # fmt: skip
    field, grace = f"{path}.terminationGracePeriodSeconds", "terminationGracePeriodSeconds"
    if probe.get(grace) is not None and probe[grace] <= 0:
        found.invalid(field, probe[grace], "must be greater than 0")
    if kind == "readinessProbe" and probe.get(grace) is not None:
        found.invalid(field, probe[grace], "must not be set for readinessProbes")
    if kind != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        found.invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")


def _one_handler(
    handler: Object, path: str, kinds: tuple[str, ...], found: Causes, grace: int | None
) -> None:
    given = [key for key in kinds if handler.get(key) is not None]
    if not given:
        found.required(path, "must specify a handler type")
    for key in given[:1]:
        action, field = handler[key], f"{path}.{key}"
        if key == "exec" and not action.get("command"):
            found.required(f"{field}.command")
        if key == "httpGet":
            if not action.get("path"):
                found.required(f"{field}.path")
            _port(action.get("port"), f"{field}.port", found)
            found.one_of(action, "scheme", field, ("HTTP", "HTTPS"))
            for header in action.get("httpHeaders") or []:
                if not _HEADER.match(header.get("name", "")):
                    found.invalid(f"{field}.httpHeaders", header.get("name", ""), _HEADER_RULE)
        if key in ("tcpSocket", "grpc"):
            _port(action.get("port"), f"{field}.port", found)
        if key == "sleep" and grace is not None and not 0 <= action.get("seconds", 0) <= grace:
            why = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
            found.invalid(field, action.get("seconds", 0), why)
    for key in given[1:]:
        found.forbidden(f"{path}.{key}", "may not specify more than 1 handler type")


def _port(port: object, field: str, found: Causes) -> None:
    if isinstance(port, str) and port:
        found.problems(field, port, names.port_name(port))
    else:
        found.between(field, port if isinstance(port, int) else 0, 1, 65535)


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
    _relative(path, field, found)
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
        _field_reference(item["fieldRef"], f"{field}.fieldRef", _VOLUME_FIELDS, found)
    elif item.get("resourceFieldRef") is not None:
        place = f"{field}.resourceFieldRef"
        _resource_field(item["resourceFieldRef"], place, found, container=True)
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


@function
def container_security(context: Object | None, path: str, found: Causes, _: Object) -> None:
    """Check what of a container's security context excludes each other."""
    if not context or context.get("allowPrivilegeEscalation") is not False:
        return
    why = "cannot set `allowPrivilegeEscalation` to false and `"
    shown = {key[0].upper() + key[1:]: context.get(key) for key in _SECURITY_FIELDS}
    if context.get("privileged"):
        found.invalid(path, shown, f"{why}privileged` to true")
    if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or []):
        found.invalid(path, shown, f"{why}capabilities.Add` CAP_SYS_ADMIN")


@function
def seccomp(profile: Object | None, path: str, found: Causes, _: Object) -> None:
    """Check a seccomp profile."""
    if profile is None:
        return
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    if kind not in ("Localhost", "RuntimeDefault", "Unconfined"):
        found.unsupported(f"{path}.type", kind, ("Localhost", "RuntimeDefault", "Unconfined"))
    if kind == "Localhost" and local is None:
        found.required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost")
    elif kind == "Localhost":
        _relative(local or "", f"{path}.localhostProfile", found)
    elif local is not None:
        why, shown = "can only be set when seccomp type is Localhost", (kind, local)
        found.invalid(
            f"{path}.localhostProfile",
            dict(zip(("Type", "LocalhostProfile"), shown, strict=True)),
            why,
        )


@function
def app_armor(profile: Object | None, path: str, found: Causes, _: Object) -> None:
    """Check an AppArmor profile."""
    if profile is None:
        return
    kinds = ("Localhost", "RuntimeDefault", "Unconfined")
    kind, local, field = (
        profile.get("type"),
        profile.get("localhostProfile"),
        f"{path}.localhostProfile",
    )
    if not kind:
        found.required(f"{path}.type", "type is required when appArmorProfile is set")
    elif kind not in kinds:
        found.unsupported(f"{path}.type", kind, kinds)
    elif kind == "Localhost" and not local:
        found.required(field, "must be set when AppArmor type is Localhost")
    elif kind != "Localhost" and local is not None:
        found.invalid(field, local, "can only be set when AppArmor type is Localhost")


@function
def host_network_ports(_: Any, field: str, found: Causes, spec: Object) -> None:
    """Check that ports of the host's network are the containers'."""
    for index, container in enumerate(
        spec.get("containers") or [] if spec.get("hostNetwork") else []
    ):
        for number, port in enumerate(container.get("ports") or []):
            if port.get("hostPort") not in (None, port.get("containerPort")):
                why = "must match `containerPort` when `hostNetwork` is true"
                found.invalid(f"{field}[{index}].ports[{number}].hostPort", port["hostPort"], why)


@function
def shared_processes(shared: bool | None, field: str, found: Causes, spec: Object) -> None:
    """Check that processes are shared in one way only."""
    if shared and spec.get("hostPID"):
        place = field.replace(".shareProcess", ".securityContext.shareProcess")
        found.invalid(place, True, "ShareProcessNamespace and HostPID cannot both be enabled")


@function
def user_namespace(host: bool | None, field: str, found: Causes, spec: Object) -> None:
    """Check that a pod with users of its own shares nothing else with the host."""
    field = field.removesuffix(".hostUsers")
    for key, shown in (
        ("hostNetwork", "hostNetwork"),
        ("hostPID", "HostPID"),
        ("hostIPC", "HostIPC"),
    ):
        if host is False and spec.get(key):
            found.forbidden(f"{field}.{shown}", "when `hostUsers` is false")
    for index, container in enumerate(spec.get("containers") or [] if host is not False else []):
        if (container.get("securityContext") or {}).get("procMount") == "Unmasked":
            why = "`hostUsers` must be false to use `Unmasked`"
            found.invalid(f"{field}.containers[{index}].securityContext.procMount", "Unmasked", why)


@function
def sysctls(items: list[Object] | None, field: str, found: Causes, _: Object) -> None:
    """Check a pod's kernel parameters."""
    chosen = [item.get("name", "") for item in items or []]
    for index, name in enumerate(chosen):
        if not re.match(_SYSCTL, name):
            text = f"must have at most 253 characters and match regex {_SYSCTL}"
            found.invalid(f"{field}[{index}].name", name, text)
    found.unique(f"{field}[].name", chosen)


@function
def name_resolution(config: Object | None, field: str, found: Causes, spec: Object) -> None:
    """Check a pod's DNS configuration."""
    servers = (config or {}).get("nameservers") or []
    if spec.get("dnsPolicy") == "None" and not servers:
        what = "at least one DNS nameserver" if config else "`dnsConfig`"
        place = f"{field}.nameservers" if config else field
        found.required(place, f"must provide {what} when `dnsPolicy` is None")
        return
    if len(servers) > 3:
        found.invalid(f"{field}.nameservers", servers, "must not have more than 3 nameservers")
    for index, search in enumerate((config or {}).get("searches") or []):
        place, name = f"{field}.searches[{index}]", search.removesuffix(".")
        found.problems(place, name, names.subdomain(name.replace("_", "-")) if name else ())
    for index, option in enumerate((config or {}).get("options") or []):
        if not option.get("name"):
            found.required(f"{field}.options[{index}]", "must not be empty")


@function
def scheduling_gates(gates: list[Object] | None, field: str, found: Causes, _: Object) -> None:
    """Check what a pod's scheduling waits for."""
    chosen = [gate.get("name", "") for gate in gates or []]
    for index, name in enumerate(chosen):
        found.problems(f"{field}[{index}]", name, names.label_key_problems(name))
    found.unique(f"{field}[]", chosen)


@function
def repeated_constraints(items: list[Object] | None, path: str, found: Causes, _: Object) -> None:
    """Check that no topology is spread over twice in the same way."""
    pairs = [(item.get("topologyKey"), item.get("whenUnsatisfiable")) for item in items or []]
    for index, pair in enumerate(pairs):
        if pair in pairs[index + 1 :]:
            place = f"{path}[{index}].{{topologyKey, whenUnsatisfiable}}"
            found.duplicate(place, f"{{{pair[0]}, {pair[1]}}}")


@function
def operating_system(system: Object | None, field: str, found: Causes, _: Object) -> None:
    """Check the operating system a pod is for."""
    name = (system or {}).get("name", "")
    if system is not None and not name:
        found.required(f"{field}.name")
    elif name not in ("", "linux", "windows"):
        found.unsupported(field, name, ("linux", "windows"))


@function
def affinity(affinity: Object | None, path: str, found: Causes, _: Object) -> None:
    """Check node and pod affinity."""
    affinity = affinity or {}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    node = affinity.get("nodeAffinity") or {}
    field = f"{path}.nodeAffinity"
    if node.get(required) is not None:
        terms = node[required].get("nodeSelectorTerms") or []
        if not terms:
            why = "must have at least one node selector term"
            found.required(f"{field}.{required}.nodeSelectorTerms", why)
        for index, term in enumerate(terms):
            place = f"{field}.{required}.nodeSelectorTerms[{index}]"
            _node_term(term, place, found, values=True)
    for index, item in enumerate(node.get(preferred) or []):
        place = f"{field}.{preferred}[{index}]"
        _weight(item, place, found)
        _node_term(item.get("preference") or {}, f"{place}.preference", found)
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        for index, term in enumerate(rules.get(required) or []):
            _pod_term(term, f"{path}.{kind}.{required}[{index}]", found)
        for index, item in enumerate(rules.get(preferred) or []):
            place = f"{path}.{kind}.{preferred}[{index}]"
            _weight(item, place, found)
            _pod_term(item.get("podAffinityTerm") or {}, f"{place}.podAffinityTerm", found)


def _weight(item: Object, place: str, found: Causes) -> None:
    if not 1 <= item.get("weight", 0) <= 100:
        found.invalid(f"{place}.weight", item.get("weight", 0), "must be in the range 1-100")


def _node_term(term: Object, path: str, found: Causes, *, values: bool = False) -> None:
    for index, item in enumerate(term.get("matchExpressions") or []):
        field = f"{path}.matchExpressions[{index}]"
        if item.get("operator") in ("Gt", "Lt"):
            if len(item.get("values") or []) != 1:
                why = "must be specified single value when `operator` is 'Lt' or 'Gt'"
                found.required(f"{field}.values", why)
            found.problems(f"{field}.key", item["key"], names.label_key_problems(item["key"]))
        else:
            found.requirement(field, item)
        for number, value in enumerate(item.get("values") or [] if values else []):
            problems = names.label_value_problems(value)
            found.problems(f"{field}.values[{number}]", value, problems)
    for index, item in enumerate(term.get("matchFields") or []):
        field = f"{path}.matchFields[{index}]"
        if item.get("operator") not in ("In", "NotIn"):
            why = "not a valid selector operator"
            found.invalid(f"{field}.operator", item.get("operator", ""), why)
        elif len(item.get("values") or []) != 1:
            why = (
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            )
            found.required(f"{field}.values", why)
        if item.get("key") != "metadata.name":
            found.invalid(f"{field}.key", item.get("key", ""), "not a valid field selector key")


def _pod_term(term: Object, path: str, found: Causes) -> None:
    found.selector(f"{path}.labelSelector", term.get("labelSelector"))
    found.selector(f"{path}.namespaceSelector", term.get("namespaceSelector"))
    for name in term.get("namespaces") or []:
        found.problems(f"{path}.namespace", name, names.dns_label(name))
    key = term.get("topologyKey", "")
    if not key:
        found.required(f"{path}.topologyKey", "can not be empty")
    found.problems(f"{path}.topologyKey", key, names.label_key_problems(key))


@function
def toleration(item: Object, field: str, found: Causes, _: Object) -> None:
    """Check a toleration."""
    key, operator, value = item.get("key"), item.get("operator", ""), item.get("value", "")
    if key:
        found.problems(f"{field}.key", key, names.label_key_problems(key))
    elif operator != "Exists":
        why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        found.invalid(f"{field}.operator", operator, why)
    if item.get("tolerationSeconds") is not None and item.get("effect") != "NoExecute":
        why = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        found.invalid(f"{field}.effect", item.get("effect", ""), why)
    if operator in ("", "Equal"):
        problems = names.label_value_problems(value)
        found.problems(f"{field}.operator", value, [";".join(problems)] if problems else ())
    elif operator != "Exists":
        known = ("Equal", "Exists")
        more = known if operator not in ("Lt", "Gt") else (*known, "Lt", "Gt")
        found.unsupported(f"{field}.operator", operator, more)
    elif value:
        why = "value must be empty when `operator` is 'Exists'"
        found.invalid(f"{field}.operator", value, why)
    if item.get("effect"):
        found.one_of(item, "effect", field, ("NoSchedule", "PreferNoSchedule", "NoExecute"))
