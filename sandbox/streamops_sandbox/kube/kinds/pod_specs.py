"""Rules of a pod's spec as a whole, and what is doubtful in it."""

from __future__ import annotations

from streamops_sandbox.kube import names
from streamops_sandbox.kube.kinds import declared
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import function
from streamops_sandbox.objects import Object


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
    for index, server in enumerate(servers):
        declared.ip(server, f"{field}.nameservers[{index}]", found)
    for index, search in enumerate((config or {}).get("searches") or []):
        place, name = f"{field}.searches[{index}]", search.removesuffix(".")
        found.problems(place, name, names.subdomain(name.replace("_", "-")) if name else ())
    for index, option in enumerate((config or {}).get("options") or []):
        if not option.get("name"):
            found.required(f"{field}.options[{index}]", "must not be empty")


@function
def operating_system(system: Object, field: str, found: Causes, _: Object) -> None:
    """Report the operating system of a pod that is not a known one."""
    found.unsupported(field, system["name"], ("linux", "windows"))
