"""Defaults and rules of pod specs (pkg/apis/core/v1/defaults.go, validation.go)."""

from __future__ import annotations

from typing import Any

from streamops_sandbox.kube import errors, names
from streamops_sandbox.kube.kinds import rules
from streamops_sandbox.kube.quantity import is_quantity

Json = dict[str, Any]

_CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_CHOICES = {
    "restartPolicy": ("Always", "Never", "OnFailure"),
    "dnsPolicy": ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"),
    "tolerations[].effect": ("NoExecute", "NoSchedule", "PreferNoSchedule"),
    "tolerations[].operator": ("Equal", "Exists"),
    **{
        f"{containers}[].{field}": allowed
        for containers in _CONTAINER_LISTS
        for field, allowed in {
            "imagePullPolicy": ("Always", "IfNotPresent", "Never"),
            "ports[].protocol": ("SCTP", "TCP", "UDP"),
            "terminationMessagePolicy": ("FallbackToLogsOnError", "File"),
        }.items()
    },
}
_NOT_NEGATIVE = (
    "terminationGracePeriodSeconds",
    *(
        f"{containers}[].{probe}.{field}"
        for containers in _CONTAINER_LISTS
        for probe in _PROBES
        for field in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "failureThreshold")
    ),
)
_FILE_MODE = 0o644
_TOKEN_SECONDS = 3600
_PROBE_DEFAULTS = {
    "timeoutSeconds": 1,
    "periodSeconds": 10,
    "successThreshold": 1,
    "failureThreshold": 3,
}


def default(spec: Json) -> None:
    """Fill in a pod spec's defaults, in place."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for key in _CONTAINER_LISTS:
        for container in spec.get(key) or []:
            _default_container(container, ephemeral=key == "ephemeralContainers")
    if spec.get("hostNetwork"):
        for container in spec.get("containers") or []:
            for port in container.get("ports") or []:
                port.setdefault("hostPort", port.get("containerPort"))
    for volume in spec.get("volumes") or []:
        _default_volume(volume)


def _default_container(container: Json, *, ephemeral: bool) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", _pull_policy(container.get("image", "")))
    resources = container.setdefault("resources", {})
    if resources.get("limits") and not ephemeral:
        requests = resources.setdefault("requests", {})
        for name, amount in resources["limits"].items():
            requests.setdefault(name, amount)
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")
    for key in _PROBES:
        if container.get(key):
            _default_probe(container[key])
    for handler in (container.get("lifecycle") or {}).values():
        if isinstance(handler, dict) and handler.get("httpGet"):
            _default_http_get(handler["httpGet"])
    for variable in container.get("env") or []:
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference:
            reference.setdefault("apiVersion", "v1")


def _pull_policy(image: str) -> str:
    last = image.rpartition("/")[2]
    if "@" in last:
        return "IfNotPresent"
    tag = last.partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _default_probe(probe: Json) -> None:
    for key, value in _PROBE_DEFAULTS.items():
        probe.setdefault(key, value)
    if probe.get("httpGet"):
        _default_http_get(probe["httpGet"])
    if probe.get("grpc"):
        probe["grpc"].setdefault("service", "")


def _default_http_get(action: Json) -> None:
    action.setdefault("scheme", "HTTP")
    if not action.get("path"):
        action["path"] = "/"


def _default_volume(volume: Json) -> None:
    sources = [key for key in volume if key != "name"]
    if not sources:
        volume["emptyDir"] = {}
    for key in ("secret", "configMap", "downwardAPI", "projected"):
        if key in volume:
            volume[key].setdefault("defaultMode", _FILE_MODE)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    items = list((volume.get("downwardAPI") or {}).get("items") or [])
    for source in (volume.get("projected") or {}).get("sources") or []:
        if "serviceAccountToken" in source:
            source["serviceAccountToken"].setdefault("expirationSeconds", _TOKEN_SECONDS)
        items += (source.get("downwardAPI") or {}).get("items") or []
    for item in items:
        if item.get("fieldRef"):
            item["fieldRef"].setdefault("apiVersion", "v1")


def default_template(template: Json) -> None:
    """Fill in a pod template's defaults, in place."""
    template.setdefault("metadata", {})
    default(template.setdefault("spec", {}))


def validate(spec: Json, path: str) -> list[Json]:
    """Broken rules of a pod spec at a path."""
    found: list[Json] = []
    containers = spec.get("containers") or []
    if not containers:
        found.append(errors.cause("FieldValueRequired", f"{path}.containers", "Required value"))
    volumes = {volume.get("name") for volume in spec.get("volumes") or []}
    seen: set[str] = set()
    for key in _CONTAINER_LISTS:
        for index, container in enumerate(spec.get(key) or []):
            field = f"{path}.{key}[{index}]"
            found += _container_causes(container, field, volumes, seen)
    _duplicates(spec.get("volumes") or [], f"{path}.volumes", found)
    found += rules.one_of(spec, _CHOICES, path)
    found += rules.not_negative(spec, *_NOT_NEGATIVE, prefix=path)
    return found


def _container_causes(container: Json, field: str, volumes: set[Any], seen: set[str]) -> list[Json]:
    found: list[Json] = []
    name = container.get("name", "")
    if not name:
        found.append(errors.cause("FieldValueRequired", f"{field}.name", "Required value"))
    else:
        for problem in names.problems(name, group="", kind="Namespace"):
            found.append(rules.invalid(f"{field}.name", f'"{name}"', problem))
    if name in seen:
        found.append(
            errors.cause("FieldValueDuplicate", f"{field}.name", f'Duplicate value: "{name}"')
        )
    seen.add(name)
    if not container.get("image"):
        found.append(errors.cause("FieldValueRequired", f"{field}.image", "Required value"))
    found += _port_causes(container.get("ports") or [], field)
    for index, variable in enumerate(container.get("env") or []):
        if not variable.get("name"):
            found.append(
                errors.cause("FieldValueRequired", f"{field}.env[{index}].name", "Required value")
            )
        if variable.get("value") and variable.get("valueFrom"):
            found.append(
                rules.invalid(
                    f"{field}.env[{index}].valueFrom",
                    '""',
                    "may not be specified when `value` is not empty",
                )
            )
    for index, mount in enumerate(container.get("volumeMounts") or []):
        if mount.get("name") not in volumes:
            found.append(
                errors.cause(
                    "FieldValueNotFound",
                    f"{field}.volumeMounts[{index}].name",
                    f'Not found: "{mount.get("name", "")}"',
                )
            )
    for kind in ("limits", "requests"):
        for key, amount in ((container.get("resources") or {}).get(kind) or {}).items():
            if not is_quantity(amount):
                found.append(
                    rules.invalid(
                        f"{field}.resources.{kind}[{key}]",
                        f'"{amount}"',
                        "quantities must match the regular expression "
                        "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
                    )
                )
    return found


def _port_causes(ports: list[Json], field: str) -> list[Json]:
    found = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        path = f"{field}.ports[{index}]"
        number = port.get("containerPort", 0)
        if not 1 <= number <= 65535:
            found.append(
                rules.invalid(
                    f"{path}.containerPort", str(number), "must be between 1 and 65535, inclusive"
                )
            )
        name = port.get("name")
        if name and name in seen:
            found.append(
                errors.cause("FieldValueDuplicate", f"{path}.name", f'Duplicate value: "{name}"')
            )
        if name:
            seen.add(name)
            if len(name) > 15:
                found.append(
                    rules.invalid(f"{path}.name", f'"{name}"', "must be no more than 15 characters")
                )
    return found


def _duplicates(items: list[Json], field: str, found: list[Json]) -> None:
    seen = set()
    for index, item in enumerate(items):
        name = item.get("name")
        if name in seen:
            found.append(
                errors.cause(
                    "FieldValueDuplicate", f"{field}[{index}].name", f'Duplicate value: "{name}"'
                )
            )
        seen.add(name)
