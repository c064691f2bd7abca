"""The downward API: fields of the pod and resources of its containers as text."""

from __future__ import annotations

import json
import math
import os
import re
from decimal import Decimal
from typing import Any

Object = dict[str, Any]

_KEYED = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
_SUFFIXES = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}
_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkMGTPE]?i?)")


def pod_field(pod: Object, path: str) -> str:
    """Return the value of a `fieldRef`; KeyError for a path the downward API does not know."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
    if match := _KEYED.fullmatch(path):
        return str((metadata.get(match[1]) or {}).get(match[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        values = metadata.get(path.partition(".")[2]) or {}
        return "\n".join(f"{key}={json.dumps(value)}" for key, value in sorted(values.items()))
    plain = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata.get("namespace", ""),
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": status.get("hostIP", ""),
        "status.hostIPs": ",".join(entry["ip"] for entry in status.get("hostIPs") or []),
        "status.podIP": status.get("podIP", ""),
        "status.podIPs": ",".join(entry["ip"] for entry in status.get("podIPs") or []),
    }
    return str(plain[path])


def container_resource(pod: Object, container: Object, reference: Object) -> str:
    """Return the value of a `resourceFieldRef`, in units of its divisor, rounded up.

    A limit that is not set is the node's capacity, as the kubelet has it.
    """
    wanted = reference.get("containerName")
    if wanted:
        container = next(
            entry
            for entry in pod["spec"]["containers"] + (pod["spec"].get("initContainers") or [])
            if entry["name"] == wanted
        )
    section, _, resource = reference["resource"].partition(".")
    value = ((container.get("resources") or {}).get(section) or {}).get(resource)
    if value is None:
        value = node_capacity().get(resource, "0") if section == "limits" else "0"
    divisor = quantity(reference.get("divisor") or "1") or Decimal(1)
    return str(math.ceil(quantity(value) / divisor))


def quantity(text: str | float) -> Decimal:
    """Return the number a Kubernetes quantity ("500m", "64Mi", "1e3") stands for."""
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{text!r} is not a quantity")
    return Decimal(match[1]) * _SUFFIXES[match[2]]


def node_capacity() -> dict[str, str]:
    """Return what this machine offers to pods."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{memory // 1024}Ki",
        "ephemeral-storage": "0",
        "pods": "110",
    }
