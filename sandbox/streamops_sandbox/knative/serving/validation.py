"""Validation of Serving's kinds and ConfigMaps: what its validating webhooks refuse."""

from __future__ import annotations

import re
from typing import Any

from streamops_sandbox.informer import Informer
from streamops_sandbox.knative import configmaps
from streamops_sandbox.knative.admission import Denied
from streamops_sandbox.knative.configmaps import check_example
from streamops_sandbox.knative.fielderrors import FieldErrors

Object = dict[str, Any]

_RESERVED = ("PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION")
_POD_FIELDS = (
    "containers", "initContainers", "volumes", "serviceAccountName", "imagePullSecrets",
    "enableServiceLinks", "automountServiceAccountToken", "containerConcurrency", "timeoutSeconds",
    "responseStartTimeoutSeconds", "idleTimeoutSeconds",
)  # fmt: skip
#: Pod fields that a flag of config-features, all off by default, lets through.
_FLAGGED_POD_FIELDS = (
    "affinity", "dnsConfig", "dnsPolicy", "hostAliases", "hostIPC", "hostNetwork", "hostPID",
    "nodeSelector", "priorityClassName", "runtimeClassName", "schedulerName", "securityContext",
    "shareProcessNamespace", "tolerations", "topologySpreadConstraints",
)  # fmt: skip
_FORBIDDEN_CONTAINER_FIELDS = ("lifecycle", "stdin", "stdinOnce", "tty", "volumeDevices")
_SCALE = re.compile(r"\d+")
_NUMERIC_SETTINGS = {
    "config-autoscaler": ("container-concurrency-target-default", "stable-window", "min-scale"),
}


class Validator:
    """Validates objects; `config` is the informer of Serving's ConfigMaps."""

    def __init__(self, config: Informer) -> None:
        self._config = config

    async def __call__(self, request: Object) -> Object:
        """Check an object of Serving's.

        Raises:
            Denied: with everything that is wrong with it.
        """
        obj: Object = request.get("object") or {}
        kind, old = request["kind"]["kind"], request.get("oldObject") or {}
        skipped = request["operation"] == "DELETE" or request.get("subResource")
        if skipped or (obj.get("metadata") or {}).get("deletionTimestamp"):
            return obj
        errors = FieldErrors()
        spec = obj.get("spec") or {}
        if kind == "Service":
            self._template(errors, obj, old)
            _traffic(errors, spec.get("traffic") or [])
        if kind == "Revision" and old and old.get("spec") != spec:
            errors.add("Immutable fields changed (-old +new)", "spec")
        if errors:
            raise Denied(f"validation failed: {errors}")
        return obj

    def _template(self, errors: FieldErrors, obj: Object, old: Object) -> None:
        template = (obj.get("spec") or {}).get("template") or {}
        if not template:
            errors.missing("spec.template")
            return
        metadata = template.get("metadata") or {}
        _autoscaling(errors, metadata.get("annotations") or {})
        name = metadata.get("name")
        if name:
            _revision_name(errors, name, obj, old)
        self._pod(errors, template.get("spec") or {}, "spec.template.spec")

    def _pod(self, errors: FieldErrors, spec: Object, path: str) -> None:
        for name in spec:
            flag = f"kubernetes.podspec-{name.lower()}"
            allowed = name in _FLAGGED_POD_FIELDS and configmaps.feature(self._config, flag)
            if name not in _POD_FIELDS and not allowed:
                errors.disallowed(f"{path}.{name}")
        containers = spec.get("containers") or []
        if not containers:
            errors.missing(f"{path}.containers")
        with_ports = [c for c in containers if c.get("ports")]
        if len(containers) > 1 and len(with_ports) != 1:
            errors.add(
                "more than one container port is set" if with_ports else "missing field(s)",
                f"{path}.containers[*].ports",
            )
        for index, container in enumerate(containers):
            self._container(errors, container, f"{path}.containers[{index}]")

    def _container(self, errors: FieldErrors, container: Object, path: str) -> None:
        if not container.get("image"):
            errors.missing(f"{path}.image")
        for name in _FORBIDDEN_CONTAINER_FIELDS:
            if name in container:
                errors.disallowed(f"{path}.{name}")
        ports = container.get("ports") or []
        if len(ports) > 1:
            errors.add("more than one container port is set", f"{path}.ports")
        for port in ports:
            if port.get("name") not in (None, "", "http1", "h2c"):
                message = f"Port name {port['name']} is not allowed"
                details = "Name must be empty, or one of: 'h2c', 'http1'"
                errors.add(message, f"{path}.ports", details=details)
        fieldref = configmaps.feature(self._config, "kubernetes.podspec-fieldref")
        for number, variable in enumerate(container.get("env") or []):
            if variable.get("name") in _RESERVED:
                message = f'"{variable["name"]}" is a reserved environment variable'
                errors.add(message, f"{path}.env[{number}].name")
            for source in ("fieldRef", "resourceFieldRef"):
                if source in (variable.get("valueFrom") or {}) and not fieldref:
                    errors.disallowed(f"{path}.env[{number}].valueFrom.{source}")


async def validate_config(request: Object) -> Object:
    """Check one of Serving's ConfigMaps.

    Raises:
        Denied: its `_example` was edited, or a value cannot be used.
    """
    config: Object = request.get("object") or {}
    check_example(config)
    data = config.get("data") or {}
    for key in _NUMERIC_SETTINGS.get(config["metadata"]["name"], ()):
        if key in data and not re.fullmatch(r"\d+(\.\d+)?[smh]?", data[key]):
            raise Denied(f"validation failed: failed to parse {key!r}: invalid value {data[key]!r}")
    return config


def _revision_name(errors: FieldErrors, name: str, obj: Object, old: Object) -> None:
    path = "spec.template.metadata.name"
    if not name.startswith(f"{obj['metadata'].get('name', '')}-"):
        details = f"must have prefix {obj['metadata'].get('name')}-"
        errors.invalid(name, path, details=details)
    before = (old.get("spec") or {}).get("template") or {}
    template = obj["spec"]["template"]
    if (before.get("metadata") or {}).get("name") == name and before != template:
        errors.add("Saw the following changes without a name change (-old +new)", path)


def _autoscaling(errors: FieldErrors, annotations: Object) -> None:
    path = "spec.template.metadata.annotations"
    bounds = {}
    for name in ("min-scale", "max-scale", "initial-scale", "target"):
        value = annotations.get(f"autoscaling.knative.dev/{name}")
        if value is None:
            continue
        if not _SCALE.fullmatch(value) and not (name == "target" and _decimal(value)):
            errors.invalid(value, f"{path}.autoscaling.knative.dev/{name}")
        elif name != "target":
            bounds[name] = int(value)
    low, high = bounds.get("min-scale", 0), bounds.get("max-scale", 0)
    if high and low > high:
        errors.add(f"max-scale={high} is less than min-scale={low}", path)


def _decimal(value: str) -> bool:
    return re.fullmatch(r"\d+\.\d+", value) is not None


def _traffic(errors: FieldErrors, traffic: list[Object]) -> None:
    total = sum(target.get("percent") or 0 for target in traffic)
    if traffic and total != 100:
        errors.add(f"Traffic targets sum to {total}, want 100", "spec.traffic")
    for index, target in enumerate(traffic):
        if target.get("latestRevision") and target.get("revisionName"):
            errors.invalid("true", f"spec.traffic[{index}].latestRevision")
