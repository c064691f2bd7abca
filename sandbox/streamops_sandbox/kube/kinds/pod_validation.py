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
#: Resources that may be requested without a prefix.
_RESOURCES = ("cpu", "ephemeral-storage", "memory")
_NO_OVERCOMMIT = re.compile(r"hugepages-|.*/")
_ENV_NAME = re.compile(r"[ -<>-~]+\Z")
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
            for key in ("postStart", "preStop"):
                handler = (container.get("lifecycle") or {}).get(key)
                if handler is not None:
                    _one_handler(handler, f"{path}.lifecycle.{key}", _LIFECYCLE_HANDLERS, found)
            restartable = container.get("restartPolicy") == "Always" or list_name == "containers"
            for key in [key for key in PROBES if container.get(key) is not None]:
                if restartable:
                    _probe(container[key], f"{path}.{key}", key != "readinessProbe", found)
                else:
                    why = "may not be set for init containers without restartPolicy=Always"
                    found.forbidden(f"{path}.{key}", why)
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
        rule = "a valid environment variable name must consist only of printable ASCII characters other than '='"
        found.invalid(f"{path}.name", name, rule)
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
            if not source[key].get("name"):
                found.required(f"{field}.{key}.name")
            _config_key(source[key].get("key", ""), f"{field}.{key}.key", found)
    if "fieldRef" in given:
        wanted = source["fieldRef"].get("fieldPath", "")
        if not wanted:
            found.required(f"{field}.fieldRef.fieldPath")
        elif (
            not re.fullmatch(r"metadata\.(labels|annotations)\['.+'\]", wanted)
            and wanted not in _ENV_FIELDS
        ):
            found.unsupported(f"{field}.fieldRef.fieldPath", wanted, _ENV_FIELDS)


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
    given = [key for key in ("configMapRef", "secretRef") if source.get(key) is not None]
    if not given:
        found.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
    elif len(given) > 1:
        found.invalid(path, "", "may not have more than one field specified at a time")
    for key in given:
        if not source[key].get("name"):
            found.required(f"{path}.{key}.name")


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
        if mount.get("subPath") and mount.get("subPathExpr"):
            why = "subPathExpr and subPath are mutually exclusive"
            found.invalid(f"{field}.subPathExpr", mount["subPathExpr"], why)
        _relative(mount.get("subPath", ""), f"{field}.subPath", found)


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
            field = f"{path}.{kind}"
            if name not in _RESOURCES and "/" not in name and not name.startswith("hugepages-"):
                found.invalid(field, name, "must be a standard resource type or fully qualified")
                found.invalid(field, name, "must be a standard resource for containers")
            if parse(amount) < 0:
                found.invalid(f"{field}[{name}]", amount, "must be greater than or equal to 0")
    for name, amount in requests.items():
        limit = limits.get(name)
        if limit is None:
            continue
        if _NO_OVERCOMMIT.match(name):
            if parse(amount) != parse(limit):
                why = f"must be equal to {name} limit of {limit}"
                found.invalid(f"{path}.requests", amount, why)
        elif parse(amount) > parse(limit):
            why = f"must be less than or equal to {name} limit of {limit}"
            found.invalid(f"{path}.requests", amount, why)


def _probe(probe: Object, path: str, only_one_success: bool, found: Causes) -> None:
    _one_handler(probe, path, _HANDLERS, found)
    found.not_negative(
        probe, path, "initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold",
        "failureThreshold", "terminationGracePeriodSeconds",
    )  # fmt: skip
    if only_one_success and probe.get("successThreshold", 1) != 1:
        found.invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")


def _one_handler(handler: Object, path: str, kinds: tuple[str, ...], found: Causes) -> None:
    given = [key for key in kinds if handler.get(key) is not None]
    if not given:
        found.required(path, "must specify a handler type")
    for key in given[1:]:
        found.forbidden(f"{path}.{key}", "may not specify more than 1 handler type")
    for key in given[:1]:
        action, field = handler[key], f"{path}.{key}"
        if key == "exec" and not action.get("command"):
            found.required(f"{field}.command")
        if key == "httpGet":
            if not action.get("path"):
                found.required(f"{field}.path")
            _port(action.get("port"), f"{field}.port", found)
            found.one_of(action, "scheme", field, ("HTTP", "HTTPS"))
        if key in ("tcpSocket", "grpc"):
            _port(action.get("port"), f"{field}.port", found)


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
        for key in given[1:]:
            found.forbidden(f"{field}.{key}", "may not specify more than 1 volume type")
        if not given:
            found.required(field, "must specify a volume type")
        for key in given[:1]:
            _volume_source(key, volume[key], f"{field}.{key}", found)
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
    "hostPath": "path", "secret": "secretName", "configMap": "name", "persistentVolumeClaim": "claimName",
    "csi": "driver",
}  # fmt: skip


def _volume_source(key: str, source: Object, path: str, found: Causes) -> None:
    if key in _VOLUME_KEYS and not source.get(_VOLUME_KEYS[key]):
        found.required(f"{path}.{_VOLUME_KEYS[key]}")
    if key == "hostPath":
        found.one_of(source, "type", path, _HOST_PATH_TYPES)
    if key in ("secret", "configMap", "projected", "downwardAPI"):
        mode = source.get("defaultMode")
        if mode is not None and not 0 <= mode <= 0o777:
            why = "must be a number between 0 and 0777 (octal), both inclusive"
            found.invalid(f"{path}.defaultMode", mode, why)
    for index, item in enumerate(
        source.get("items") or [] if key in ("secret", "configMap") else []
    ):
        for name in ("key", "path"):
            if not item.get(name):
                found.required(f"{path}.items[{index}].{name}")
        _relative(item.get("path", ""), f"{path}.items[{index}].path", found)


@function
def container_security(context: Object | None, path: str, found: Causes, _: Object) -> None:
    """Check what of a container's security context excludes each other."""
    if not context or context.get("allowPrivilegeEscalation") is not False:
        return
    field = f"{path}.allowPrivilegeEscalation"
    why = "cannot set `allowPrivilegeEscalation` to false and `"
    if context.get("privileged"):
        found.invalid(path, context, f"{why}privileged` to true")
    if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or []):
        found.invalid(field, False, f"{why}capabilities.Add` CAP_SYS_ADMIN")


@function
def seccomp(profile: Object | None, path: str, found: Causes, _: Object) -> None:
    """Check a seccomp profile."""
    if profile is None:
        return
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    if kind not in ("Localhost", "RuntimeDefault", "Unconfined"):
        found.unsupported(f"{path}.type", kind, ("Localhost", "RuntimeDefault", "Unconfined"))
    elif kind == "Localhost" and not local:
        found.required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost")
    elif kind != "Localhost" and local is not None:
        why = "can only be set when seccomp type is Localhost"
        found.invalid(f"{path}.localhostProfile", local, why)


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
            _node_term(term, f"{field}.{required}.nodeSelectorTerms[{index}]", found)
    for index, item in enumerate(node.get(preferred) or []):
        place = f"{field}.{preferred}[{index}]"
        found.between(f"{place}.weight", item.get("weight", 0), 1, 100)
        _node_term(item.get("preference") or {}, f"{place}.preference", found)
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        for index, term in enumerate(rules.get(required) or []):
            _pod_term(term, f"{path}.{kind}.{required}[{index}]", found)
        for index, item in enumerate(rules.get(preferred) or []):
            place = f"{path}.{kind}.{preferred}[{index}]"
            found.between(f"{place}.weight", item.get("weight", 0), 1, 100)
            _pod_term(item.get("podAffinityTerm") or {}, f"{place}.podAffinityTerm", found)


def _node_term(term: Object, path: str, found: Causes) -> None:
    for index, item in enumerate(term.get("matchExpressions") or []):
        field = f"{path}.matchExpressions[{index}]"
        if item.get("operator") in ("Gt", "Lt"):
            if len(item.get("values") or []) != 1:
                why = "must be specified single value when `operator` is 'Lt' or 'Gt'"
                found.required(f"{field}.values", why)
            found.problems(f"{field}.key", item["key"], names.label_key_problems(item["key"]))
        else:
            found.requirement(field, item)


def _pod_term(term: Object, path: str, found: Causes) -> None:
    found.selector(f"{path}.labelSelector", term.get("labelSelector"))
    if not term.get("topologyKey"):
        found.required(f"{path}.topologyKey", "can not be empty")
    else:
        key = term["topologyKey"]
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
        found.problems(f"{field}.operator", value, names.label_value_problems(value))
    elif operator != "Exists":
        found.unsupported(f"{field}.operator", operator, ("Equal", "Exists"))
    elif value:
        why = "value must be empty when `operator` is 'Exists'"
        found.invalid(f"{field}.operator", value, why)
    if item.get("effect"):
        found.one_of(item, "effect", field, ("NoSchedule", "PreferNoSchedule", "NoExecute"))
