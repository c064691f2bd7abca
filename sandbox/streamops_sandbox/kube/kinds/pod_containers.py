"""Rules of a pod's containers: ports, resources, probes and handlers."""

from __future__ import annotations

import re
from typing import Any

from streamops_sandbox.kube import names
from streamops_sandbox.kube.kinds import declared
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import function
from streamops_sandbox.kube.kinds.pod_volumes import VOLUMES
from streamops_sandbox.kube.quantity import parse
from streamops_sandbox.objects import Object

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_LIFECYCLE_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")
#: Resources that may be requested without a prefix.
_RESOURCES = ("cpu", "ephemeral-storage", "memory")
_NO_OVERCOMMIT = re.compile(r"hugepages-|.*/")
_HEADER = re.compile(r"[-A-Za-z0-9]+\Z")
_HEADER_RULE = (
    "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex "
    "used for validation is '[-A-Za-z0-9]+')"
)
_CONTAINER_RESTART = ("Always", "Never", "OnFailure")
_ONLY_RESTARTED = "may not be set for init containers without restartPolicy=Always"


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
                {**container, VOLUMES: spec.get("volumes")}, "container", found, path
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
def resizing(policies: list[Object] | None, path: str, found: Causes, _: Object) -> None:
    """Check how a container's resources may change."""
    for policy in policies or []:
        found.one_of({path: policy.get("resourceName")}, path, "", ("cpu", "memory"))
        choices = ("NotRequired", "RestartContainer")
        found.one_of({path: policy.get("restartPolicy")}, path, "", choices)


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


@function
def pod_resources(requirements: Object | None, path: str, found: Causes, _: Object) -> None:
    """Check the limits and requests of a pod as a whole."""
    limits, requests = ((requirements or {}).get(key) or {} for key in ("limits", "requests"))
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            if name not in ("cpu", "memory") and not name.startswith("hugepages-"):
                known = ("cpu", "hugepages-", "memory")
                found.unsupported(f"{path}.{kind}[{name}]", name, known)
            if kind == "requests":
                _against_limit(name, amount, limits.get(name), path, found)


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
def host_network_ports(_: Any, field: str, found: Causes, spec: Object) -> None:
    """Check that ports of the host's network are the containers'."""
    for index, container in enumerate(
        spec.get("containers") or [] if spec.get("hostNetwork") else []
    ):
        for number, port in enumerate(container.get("ports") or []):
            if port.get("hostPort") not in (None, port.get("containerPort")):
                why = "must match `containerPort` when `hostNetwork` is true"
                found.invalid(f"{field}[{index}].ports[{number}].hostPort", port["hostPort"], why)
