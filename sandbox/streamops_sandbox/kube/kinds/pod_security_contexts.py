"""Rules of what a pod's processes may do, and what they share with the host."""

from __future__ import annotations

import re

from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import function
from streamops_sandbox.kube.kinds.pod_volumes import relative_path
from streamops_sandbox.objects import Object

_SECURITY_FIELDS = (
    "capabilities", "privileged", "seLinuxOptions", "windowsOptions", "runAsUser", "runAsGroup",
    "runAsNonRoot", "readOnlyRootFilesystem", "allowPrivilegeEscalation", "procMount", "seccompProfile",
    "appArmorProfile",
)  # fmt: skip
_SYSCTL = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"


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
        relative_path(local or "", f"{path}.localhostProfile", found)
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
