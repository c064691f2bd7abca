"""Rules of a pod's spec as a whole, and what is doubtful in it."""

from __future__ import annotations

from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import function
from streamops_sandbox.objects import Object


def warnings(spec: Object, field: str) -> list[str]:
    """Return what is deprecated or doubtful in a pod spec (kubernetes/pkg/api/pod/warnings.go)."""
    found = []
    for key in spec.get("nodeSelector") or {}:
        if key in ("beta.kubernetes.io/os", "beta.kubernetes.io/arch"):
            text = f'deprecated since v1.14; use "{key.removeprefix("beta.")}" instead'
            found.append(f"{field}.nodeSelector[{key}]: {text}")
    for index, item in enumerate(spec.get("imagePullSecrets") or []):
        if not item.get("name"):
            found.append(f'{field}.imagePullSecrets[{index}].name: invalid empty name ""')
    ports: dict[tuple[object, ...], str] = {}
    for list_name in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(list_name) or []):
            seen: set[str] = set()
            for number, variable in enumerate(container.get("env") or []):
                if variable.get("name") in seen:
                    place = f"{field}.{list_name}[{index}].env[{number}]"
                    text = f'hides previous definition of "{variable["name"]}", which may be dropped when using apply'
                    found.append(f"{place}: {text}")
                seen.add(variable.get("name", ""))
            for number, port in enumerate(container.get("ports") or []):
                keys = ("containerPort", "protocol", "hostIP", "hostPort")
                place = f"{field}.{list_name}[{index}].ports[{number}]"
                first = ports.setdefault(tuple(port.get(key) for key in keys), place)
                if first != place:
                    found.append(f"{place}: duplicate port definition with {first}")
    return found


@function
def repeated_constraints(items: list[Object] | None, path: str, found: Causes, _: Object) -> None:
    """Check that no topology is spread over twice in the same way."""
    pairs = [(item.get("topologyKey"), item.get("whenUnsatisfiable")) for item in items or []]
    for index, pair in enumerate(pairs):
        if pair in pairs[index + 1 :]:
            place = f"{path}[{index}].{{topologyKey, whenUnsatisfiable}}"
            found.duplicate(place, f"{{{pair[0]}, {pair[1]}}}")
