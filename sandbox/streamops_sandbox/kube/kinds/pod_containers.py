"""Rules of a pod's containers that take code: resources, host ports, handlers."""

from __future__ import annotations

import re

from streamops_sandbox.kube import names
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import function
from streamops_sandbox.kube.quantity import parse
from streamops_sandbox.objects import Object

#: Resources that may be requested without a prefix.
_RESOURCES = ("cpu", "ephemeral-storage", "memory")
_NO_OVERCOMMIT = re.compile(r"hugepages-|.*/")


@function
def containers(spec: Object, field: str, found: Causes, _: Object) -> None:
    """Check that containers differ in their names, and each list of them in the host's ports."""
    lists = {key: spec.get(key) or [] for key in ("containers", "initContainers")}
    seen: set[str] = set()
    for key, items in lists.items():
        for index, container in enumerate(items):
            if container.get("name") in seen:
                found.duplicate(f"{field}.{key}[{index}].name", container["name"])
            seen.add(container.get("name", ""))
    for key, items in lists.items():
        taken: set[str] = set()
        for index, container in enumerate(items):
            for number, port in enumerate(container.get("ports") or []):
                place = f"{field}.{key}[{index}].ports[{number}].hostPort"
                host = f"{port.get('protocol')}/{port.get('hostIP', '')}/{port.get('hostPort')}"
                if port.get("hostPort") and host in taken:
                    found.duplicate(place, host)
                taken.add(host)


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


@function
def sleep(action: Object | None, field: str, found: Causes, spec: Object) -> None:
    """Check that a container sleeps no longer than its pod has to end."""
    grace, seconds = spec.get("terminationGracePeriodSeconds"), (action or {}).get("seconds", 0)
    if action is not None and grace is not None and not 0 <= seconds <= grace:
        why = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
        found.invalid(field, seconds, why)
