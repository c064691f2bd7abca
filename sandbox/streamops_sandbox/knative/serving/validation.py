"""Validation of Serving's kinds: what its validating webhook refuses."""

from __future__ import annotations

from streamops_sandbox.informer import Informer
from streamops_sandbox.knative import configmaps
from streamops_sandbox.knative.fielderrors import FieldErrors
from streamops_sandbox.objects import Object

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
_SCALES = ("autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/max-scale")


def validate(config: Informer, request: Object, obj: Object) -> None:
    """Check an object of Serving's; `config` is the informer of its ConfigMaps.

    Raises:
        Denied: with everything that is wrong with it.
    """
    if request["kind"]["kind"] == "Service":
        errors = FieldErrors()
        _template(config, errors, (obj.get("spec") or {}).get("template") or {})
        errors.refuse()


def _template(config: Informer, errors: FieldErrors, template: Object) -> None:
    if not template:
        errors.missing("spec.template")
        return
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    for name in _SCALES:
        if not annotations.get(name, "0").isdigit():
            errors.invalid(annotations[name], f"spec.template.metadata.annotations.{name}")
    spec, path = template.get("spec") or {}, "spec.template.spec"
    for name in spec:
        flag = f"kubernetes.podspec-{name.lower()}"
        allowed = name in _FLAGGED_POD_FIELDS and configmaps.feature(config, flag)
        if name not in _POD_FIELDS and not allowed:
            errors.disallowed(f"{path}.{name}")
    if not spec.get("containers"):
        errors.missing(f"{path}.containers")
    for index, container in enumerate(spec.get("containers") or []):
        _container(errors, container, f"{path}.containers[{index}]")


def _container(errors: FieldErrors, container: Object, path: str) -> None:
    if not container.get("image"):
        errors.missing(f"{path}.image")
    for name in _FORBIDDEN_CONTAINER_FIELDS:
        if name in container:
            errors.disallowed(f"{path}.{name}")
    if len(container.get("ports") or []) > 1:
        errors.add("more than one container port is set", f"{path}.ports")
    for number, variable in enumerate(container.get("env") or []):
        if variable.get("name") in _RESERVED:
            message = f'"{variable["name"]}" is a reserved environment variable'
            errors.add(message, f"{path}.env[{number}].name")
