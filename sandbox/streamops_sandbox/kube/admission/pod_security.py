"""Pod Security admission: the levels `baseline` and `restricted`, enforced or warned of by a namespace's labels.

Contract: https://kubernetes.io/docs/concepts/security/pod-security-standards/, checks and words of
k8s.io/pod-security-admission/policy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from streamops_sandbox.kube import errors
from streamops_sandbox.kube.api import Api, Review
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.objects import Object

#: Returns what a pod spec breaks of one rule, in words.
Check = Callable[[Object], str]
_PREFIX = "pod-security.kubernetes.io/"
_LEVELS = ("privileged", "baseline", "restricted")
#: Where the kinds with a pod template have it.
_TEMPLATES = {
    "deployments.apps": ("spec", "template"), "replicasets.apps": ("spec", "template"),
    "statefulsets.apps": ("spec", "template"), "daemonsets.apps": ("spec", "template"),
    "jobs.batch": ("spec", "template"), "replicationcontrollers": ("spec", "template"),
    "podtemplates": ("template",), "cronjobs.batch": ("spec", "jobTemplate", "spec", "template"),
}  # fmt: skip
_BASELINE_CAPABILITIES = frozenset(
    {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
     "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}
)  # fmt: skip
_SELINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
_SAFE_SYSCTLS = frozenset(
    {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
     "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout",
     "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time",
     "net.ipv4.tcp_rmem", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem"}
)  # fmt: skip
_RESTRICTED_VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim",
     "projected", "secret"}
)  # fmt: skip
_SECCOMP = ("RuntimeDefault", "Localhost")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


class PodSecurity:
    """The plugin PodSecurity."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def check(self, review: Review) -> None:
        """Refuse a pod that its namespace does not allow, or warn of one; raises a 403."""
        obj, collection = review.obj, review.resource.collection
        if obj is None or review.subresource or review.operation not in ("CREATE", "UPDATE"):
            return
        if collection == "namespaces":
            _check_labels(obj)
            if review.old is not None:
                review.write.warnings += self._existing(obj, review.old)
            return
        if collection == "pods":
            if review.old is not None and review.old["spec"] == obj["spec"]:
                return
            template = obj
        elif collection in _TEMPLATES:
            template = obj
            for key in _TEMPLATES[collection]:
                template = template.get(key) or {}
        else:
            return
        stored = self._api.get("namespaces", "", review.namespace)
        labels = stored.labels if stored else {}
        enforced, version = _level(labels, "enforce")
        found = violations(template, enforced) if collection == "pods" else ""
        if found:
            why = f'violates PodSecurity "{enforced}:{version}": {found}'
            group, plural = review.resource.group, review.resource.plural
            raise errors.forbidden(group, plural, review.name, why)
        warned, version = _level(labels, "warn")
        found = violations(template, warned)
        if found:
            text = f'would violate PodSecurity "{warned}:{version}": {found}'
            review.write.warnings.append(text)

    def _existing(self, namespace: Object, old: Object) -> list[str]:
        """Return a namespace's pods that break a level which is enforced from now on, in words."""
        (level, version), (before, _) = (
            _level(item["metadata"].get("labels") or {}, "enforce") for item in (namespace, old)
        )
        if _LEVELS.index(level) <= _LEVELS.index(before):
            return []
        name, found = namespace["metadata"]["name"], dict[str, list[str]]()
        for stored in self._api.store.collection("pods").items(name):
            spec = stored.load()["spec"]
            broken = ", ".join(reason for reason, check in _checks(level) if check(spec))
            found.setdefault(broken, []).append(stored.name)
        found.pop("", None)
        first = f'existing pods in namespace "{name}" violate the new PodSecurity enforce level'
        lines = []
        for broken, (pod, *others) in found.items():
            more = f" (and {len(others)} other pod{'s' * (len(others) > 1)})" if others else ""
            lines.append(f"{pod}{more}: {broken}")
        return [f'{first} "{level}:{version}"', *sorted(lines)] if lines else []


def _level(labels: Any, mode: str) -> tuple[str, str]:
    level = labels.get(_PREFIX + mode, "privileged")
    # A level that is not one counts as the strictest.
    known = level if level in _LEVELS else "restricted"
    return known, labels.get(f"{_PREFIX}{mode}-version", "latest")


def _check_labels(namespace: Object) -> None:
    found = Causes()
    for mode in ("enforce", "audit", "warn"):
        level = (namespace["metadata"].get("labels") or {}).get(_PREFIX + mode, "privileged")
        if level not in _LEVELS:
            text = f"must be one of {', '.join(_LEVELS)}"
            found.invalid(f"metadata.labels[{_PREFIX}{mode}]", level, text)
        version = (namespace["metadata"].get("labels") or {}).get(
            f"{_PREFIX}{mode}-version", "latest"
        )
        if version != "latest" and not re.fullmatch(r"v1\.\d+", version):
            field = f"metadata.labels[{_PREFIX}{mode}-version]"
            found.invalid(field, version, 'must be "latest" or "v1.x"')
    if found:
        raise errors.invalid("", "Namespace", namespace["metadata"].get("name", ""), found)


def _checks(level: str) -> Collection[tuple[str, Check]]:
    return _BASELINE if level == "baseline" else _RESTRICTED


def violations(pod: Object, level: str) -> str:
    """Return what a pod (or a template) breaks of a level, in words; empty where it breaks nothing."""
    if level == "privileged":
        return ""
    spec = pod.get("spec") or {}
    found = [f"{reason} ({detail})" for reason, check in _checks(level) if (detail := check(spec))]
    return ", ".join(found)


def _containers(spec: Object) -> Iterator[Object]:
    for key in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(key) or []


def _security(container: Object) -> Object:
    context: Object = container.get("securityContext") or {}
    return context


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _named(what: str, names: Sequence[str]) -> str:
    return f"{what}{'s' if len(names) > 1 else ''} {_quoted(names)}"


def _offending(spec: Object, bad: Callable[[Object], bool]) -> str:
    """Return the containers whose security context breaks a rule, in words."""
    names = [item.get("name", "") for item in _containers(spec) if bad(_security(item))]
    return _named("container", names) if names else ""


def _each(text: str, bad: Callable[[Object], bool]) -> Check:
    """Return the check of a rule for the security context of each container."""

    def check(spec: Object) -> str:
        who = _offending(spec, bad)
        return f"{who} {text}" if who else ""

    return check


def _host_namespaces(spec: Object) -> str:
    keys = ("hostNetwork", "hostPID", "hostIPC")
    return ", ".join(f"{key}=true" for key in keys if spec.get(key))


def _host_paths(spec: Object) -> str:
    names = [item["name"] for item in spec.get("volumes") or [] if item.get("hostPath") is not None]
    return _named("volume", names) if names else ""


def _host_ports(spec: Object) -> str:
    names, ports = [], []
    for container in _containers(spec):
        used = [
            str(port["hostPort"]) for port in container.get("ports") or [] if port.get("hostPort")
        ]
        if used:
            names.append(container.get("name", ""))
            ports += [port for port in used if port not in ports]
    if not names:
        return ""
    verb = "use" if len(names) > 1 else "uses"
    return f"{_named('container', names)} {verb} hostPort{'s' if len(ports) > 1 else ''} {', '.join(ports)}"


def _capabilities(spec: Object, allowed: Collection[str] = _BASELINE_CAPABILITIES) -> str:
    extra: list[str] = []

    def bad(context: Object) -> bool:
        added = (context.get("capabilities") or {}).get("add") or []
        more = [name for name in added if name not in allowed]
        extra.extend(more)
        return bool(more)

    who, names = _offending(spec, bad), _quoted(sorted(set(extra)))
    return f"{who} must not include {names} in securityContext.capabilities.add" if who else ""


def _selinux(spec: Object) -> str:
    contexts = [_security(spec), *map(_security, _containers(spec))]
    options = [context.get("seLinuxOptions") or {} for context in contexts]
    kinds = sorted({item.get("type", "") for item in options} - set(_SELINUX_TYPES))
    found = [f"type{'s' if len(kinds) > 1 else ''} {_quoted(kinds)}"] if kinds else []
    found += [f"{k} may not be set" for k in ("user", "role") if any(o.get(k) for o in options)]
    return "; ".join(found)


def _unconfined(spec: Object, key: str, text: str) -> str:
    """Return who has an unconfined profile of a kind, the pod or containers, in words."""

    def bad(context: Object) -> bool:
        return (context.get(key) or {}).get("type") == "Unconfined"

    who = ["pod"] if bad(_security(spec)) else []
    who += filter(None, [_offending(spec, bad)])
    return f'{" and ".join(who)} must not set {text} to "Unconfined"' if who else ""


def _baseline_seccomp(spec: Object) -> str:
    return _unconfined(spec, "seccompProfile", "securityContext.seccompProfile.type")


def _sysctls(spec: Object) -> str:
    names = [item.get("name", "") for item in _security(spec).get("sysctls") or []]
    return ", ".join(name for name in names if name not in _SAFE_SYSCTLS)


def _restricted_capabilities(spec: Object) -> str:
    found = (_drops_all(spec), _capabilities(spec, ("NET_BIND_SERVICE",)))
    return "; ".join(filter(None, found))


def _restricted_volumes(spec: Object) -> str:
    bad = {
        item["name"]: next(key for key in item if key != "name")
        for item in spec.get("volumes") or []
        if not _RESTRICTED_VOLUMES & item.keys() and len(item) > 1
    }
    if not bad:
        return ""
    kinds = sorted(set(bad.values()))
    verb = "use" if len(bad) > 1 else "uses"
    plural = "s" if len(kinds) > 1 else ""
    who = _named("volume", list(bad))
    return f"{who} {verb} restricted volume type{plural} {_quoted(kinds)}"


def _non_root(spec: Object) -> str:
    wanted = _security(spec).get("runAsNonRoot")
    refusing = _offending(spec, lambda context: context.get("runAsNonRoot") is False)
    text = "must not set securityContext.runAsNonRoot=false"
    found = [f"pod {text}"] if wanted is False else []
    found += [f"{refusing} {text}"] if refusing else []
    if not found and not wanted:
        who = _offending(spec, lambda context: context.get("runAsNonRoot") is None)
        found = [f"pod or {who} must set securityContext.runAsNonRoot=true"] if who else []
    return "; ".join(found)


def _proc_mount(spec: Object) -> str:
    """A pod with users of its own may see all of /proc."""
    return "" if spec.get("hostUsers") is False else _unmasked(spec)


def _app_armor(spec: Object) -> str:
    return _unconfined(spec, "appArmorProfile", "AppArmor profile type")


def _probed_hosts(spec: Object) -> str:
    names, hosts = [], []
    for container in _containers(spec):
        handlers = [container.get(key) or {} for key in _PROBES]
        handlers += (container.get("lifecycle") or {}).values()
        found = [
            (handler.get(key) or {}).get("host")
            for handler in handlers
            for key in ("httpGet", "tcpSocket")
        ]
        used = [host for host in found if host not in (None, "", "127.0.0.1", "::1", "localhost")]
        names += [container.get("name", "")] if used else []
        hosts += used
    if not names:
        return ""
    verb, plural = ("use", "s") if len(names) > 1 else ("uses", "s" if len(hosts) > 1 else "")
    return f"{_named('container', names)} {verb} probe or lifecycle host{plural} {_quoted(hosts)}"


def _user(spec: Object) -> str:
    found = ["pod must not set runAsUser=0"] if _security(spec).get("runAsUser") == 0 else []
    return ", ".join([*found, *filter(None, [_root_user(spec)])])


def _restricted_seccomp(spec: Object) -> str:
    unconfined = _baseline_seccomp(spec)
    if unconfined:
        return unconfined
    if (_security(spec).get("seccompProfile") or {}).get("type") in _SECCOMP:
        return ""
    who = _offending(spec, lambda c: (c.get("seccompProfile") or {}).get("type") not in _SECCOMP)
    text = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return f"pod or {who} {text}" if who else ""


_drops_all = _each(
    'must set securityContext.capabilities.drop=["ALL"]',
    lambda context: "ALL" not in ((context.get("capabilities") or {}).get("drop") or []),
)
_root_user = _each("must not set runAsUser=0", lambda context: context.get("runAsUser") == 0)
_privileged = _each(
    "must not set securityContext.privileged=true", lambda context: bool(context.get("privileged"))
)
_unmasked = _each(
    'must not set securityContext.procMount to "Unmasked"',
    lambda context: context.get("procMount", "Default") != "Default",
)
_escalation = _each(
    "must set securityContext.allowPrivilegeEscalation=false",
    lambda context: context.get("allowPrivilegeEscalation") is not False,
)
_SHARED = (
    ("forbidden AppArmor profile", _app_armor),
    ("host namespaces", _host_namespaces),
    ("hostPort", _host_ports),
    ("probe or lifecycle host", _probed_hosts),
    ("privileged", _privileged),
    ("procMount", _proc_mount),
    ("seLinuxOptions", _selinux),
    ("forbidden sysctls", _sysctls),
)
_BASELINE = (
    _SHARED[0],
    ("non-default capabilities", _capabilities),
    _SHARED[1],
    ("hostPath volumes", _host_paths),
    *_SHARED[2:7],
    ("seccompProfile", _baseline_seccomp),
    _SHARED[7],
)
_RESTRICTED = (
    *_SHARED,
    ("allowPrivilegeEscalation != false", _escalation),
    ("unrestricted capabilities", _restricted_capabilities),
    ("restricted volume types", _restricted_volumes),
    ("runAsNonRoot != true", _non_root),
    ("runAsUser=0", _user),
    ("seccompProfile", _restricted_seccomp),
)
