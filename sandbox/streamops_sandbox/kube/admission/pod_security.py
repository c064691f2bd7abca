"""Pod Security admission: the levels `baseline` and `restricted`, enforced or warned of by a namespace's labels.

Contract: https://kubernetes.io/docs/concepts/security/pod-security-standards/, checks and words of
k8s.io/pod-security-admission/policy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from streamops_sandbox.kube import errors
from streamops_sandbox.kube.api import Api, Review
from streamops_sandbox.kube.kinds import declared
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
_OWN_HOSTS = ("", "127.0.0.1", "::1", "localhost")


async def check(api: Api, review: Review) -> None:
    """Refuse a pod that its namespace does not allow, or warn of one; raises a 403."""
    template, collection = review.obj, review.resource.collection
    if template is None or review.subresource:
        return
    if collection == "namespaces":
        _check_labels(template)
        if review.old is not None:
            review.write.warnings += _existing(api, template, review.old)
        return
    is_pod = collection == "pods"
    if is_pod and review.old is not None and review.old["spec"] == template["spec"]:
        return
    if not is_pod and collection not in _TEMPLATES:
        return
    for key in _TEMPLATES.get(collection, ()):
        template = template.get(key) or {}
    stored = api.get("namespaces", "", review.namespace)
    labels = stored.labels if stored else {}
    enforced, version = _level(labels, "enforce")
    found = violations(template, enforced) if is_pod else ""
    if found:
        why = f'violates PodSecurity "{enforced}:{version}": {found}'
        raise errors.forbidden(review.resource.group, review.resource.plural, review.name, why)
    warned, version = _level(labels, "warn")
    found = violations(template, warned)
    if found:
        review.write.warnings.append(f'would violate PodSecurity "{warned}:{version}": {found}')


def _existing(api: Api, namespace: Object, old: Object) -> list[str]:
    """Return a namespace's pods that break a level which is enforced from now on, in words."""
    (level, version), (before, _) = (
        _level(item["metadata"].get("labels") or {}, "enforce") for item in (namespace, old)
    )
    if _LEVELS.index(level) <= _LEVELS.index(before):
        return []
    name, found = namespace["metadata"]["name"], dict[str, list[str]]()
    for stored in api.store.collection("pods").items(name):
        spec = stored.load()["spec"]
        broken = ", ".join(reason for reason, check in _CHECKS[level] if check(spec))
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
    found, labels = Causes(), namespace["metadata"].get("labels") or {}
    for mode in ("enforce", "audit", "warn"):
        key = f"{_PREFIX}{mode}"
        if (level := labels.get(key, "privileged")) not in _LEVELS:
            found.invalid(f"metadata.labels[{key}]", level, f"must be one of {', '.join(_LEVELS)}")
        version = labels.get(f"{key}-version", "latest")
        if not re.fullmatch(r"latest|v1\.\d+", version):
            field = f"metadata.labels[{key}-version]"
            found.invalid(field, version, 'must be "latest" or "v1.x"')
    if found:
        raise errors.invalid("", "Namespace", namespace["metadata"].get("name", ""), found)


def violations(pod: Object, level: str) -> str:
    """Return what a pod (or a template) breaks of a level, in words; empty where it breaks nothing."""
    spec = pod.get("spec") or {}
    found = [f"{reason} ({why})" for reason, check in _CHECKS[level] if (why := check(spec))]
    return ", ".join(found)


def _containers(spec: Object) -> list[Object]:
    return declared.values(spec, "initContainers|containers|ephemeralContainers[]")


def _security(container: Object) -> Object:
    context: Object = container.get("securityContext") or {}
    return context


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _named(what: str, names: Sequence[str]) -> str:
    return f"{what}{'s' * (len(names) > 1)} {_quoted(names)}"


def _using(what: str, names: Sequence[str], of: str, used: str, *, several: bool) -> str:
    """Return who uses what may not be used, in words; empty where nobody does."""
    verb = "use" if len(names) > 1 else "uses"
    return f"{_named(what, names)} {verb} {of}{'s' * several} {used}" if names else ""


def _offending(spec: Object, bad: Callable[[Object], object]) -> str:
    """Return the containers whose security context breaks a rule, in words."""
    names = [item.get("name", "") for item in _containers(spec) if bad(_security(item))]
    return _named("container", names) if names else ""


def _each(text: str, bad: Callable[[Object], object]) -> Check:
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
    used: dict[str, list[str]] = {}
    for container in _containers(spec):
        for port in container.get("ports") or []:
            if port.get("hostPort"):
                used.setdefault(container.get("name", ""), []).append(str(port["hostPort"]))
    ports = list(dict.fromkeys(port for some in used.values() for port in some))
    return _using("container", [*used], "hostPort", ", ".join(ports), several=len(ports) > 1)


def _capabilities(spec: Object, allowed: Collection[str] = _BASELINE_CAPABILITIES) -> str:
    def extra(context: Object) -> set[str]:
        return {*((context.get("capabilities") or {}).get("add") or [])} - {*allowed}

    who = _offending(spec, extra)
    names = {name for container in _containers(spec) for name in extra(_security(container))}
    text = f"must not include {_quoted(sorted(names))} in securityContext.capabilities.add"
    return f"{who} {text}" if who else ""


def _selinux(spec: Object) -> str:
    contexts = [_security(spec), *map(_security, _containers(spec))]
    options = [context.get("seLinuxOptions") or {} for context in contexts]
    kinds = sorted({item.get("type", "") for item in options} - set(_SELINUX_TYPES))
    found = [_named("type", kinds)] if kinds else []
    found += [f"{k} may not be set" for k in ("user", "role") if any(o.get(k) for o in options)]
    return "; ".join(found)


def _unconfined(key: str, text: str) -> Check:
    """Return the check that neither the pod nor a container has an unconfined profile of a kind."""

    def bad(context: Object) -> bool:
        return (context.get(key) or {}).get("type") == "Unconfined"

    def check(spec: Object) -> str:
        who = ["pod"] * bad(_security(spec)) + list(filter(None, [_offending(spec, bad)]))
        return f'{" and ".join(who)} must not set {text} to "Unconfined"' if who else ""

    return check


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
    kinds = sorted(set(bad.values()))
    of = "restricted volume type"
    return _using("volume", [*bad], of, _quoted(kinds), several=len(kinds) > 1)


def _non_root(spec: Object) -> str:
    wanted = _security(spec).get("runAsNonRoot")
    refusing = _offending(spec, lambda context: context.get("runAsNonRoot") is False)
    who = ["pod"] * (wanted is False) + list(filter(None, [refusing]))
    if who or wanted:
        text = "must not set securityContext.runAsNonRoot=false"
        return "; ".join(f"{one} {text}" for one in who)
    silent = _offending(spec, lambda context: context.get("runAsNonRoot") is None)
    return f"pod or {silent} must set securityContext.runAsNonRoot=true" if silent else ""


def _proc_mount(spec: Object) -> str:
    """Check /proc, of which a pod with users of its own may see all."""
    return "" if spec.get("hostUsers") is False else _unmasked(spec)


def _probed_hosts(spec: Object) -> str:
    names, hosts = [], list[str]()
    for container in _containers(spec):
        handlers = [container.get(key) or {} for key in _PROBES]
        handlers += (container.get("lifecycle") or {}).values()
        places = [one.get(key) or {} for one in handlers for key in ("httpGet", "tcpSocket")]
        used = [place["host"] for place in places if place.get("host", "") not in _OWN_HOSTS]
        names += [container.get("name", "")] * bool(used)
        hosts += used
    several = len(names) > 1 or len(hosts) > 1
    return _using("container", names, "probe or lifecycle host", _quoted(hosts), several=several)


def _user(spec: Object) -> str:
    found = ["pod must not set runAsUser=0"] if _security(spec).get("runAsUser") == 0 else []
    return ", ".join([*found, *filter(None, [_root_user(spec)])])


def _restricted_seccomp(spec: Object) -> str:
    def missing(context: Object) -> bool:
        return (context.get("seccompProfile") or {}).get("type") not in _SECCOMP

    unconfined = _baseline_seccomp(spec)
    who = _offending(spec, missing) if missing(_security(spec)) else ""
    text = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return unconfined or (f"pod or {who} {text}" if who else "")


_drops_all = _each(
    'must set securityContext.capabilities.drop=["ALL"]',
    lambda context: "ALL" not in ((context.get("capabilities") or {}).get("drop") or []),
)
_root_user = _each("must not set runAsUser=0", lambda context: context.get("runAsUser") == 0)
_unmasked = _each(
    'must not set securityContext.procMount to "Unmasked"',
    lambda context: context.get("procMount", "Default") != "Default",
)
_baseline_seccomp = _unconfined("seccompProfile", "securityContext.seccompProfile.type")
_PRIVILEGED = _each(
    "must not set securityContext.privileged=true", lambda context: context.get("privileged")
)
_ESCALATION = _each(
    "must set securityContext.allowPrivilegeEscalation=false",
    lambda context: context.get("allowPrivilegeEscalation") is not False,
)
_BASELINE, _RESTRICTED = ("baseline",), ("restricted",)
_BOTH = (*_BASELINE, *_RESTRICTED)
#: (reason, check, levels), in the order of the reasons.
_RULES: tuple[tuple[str, Check, Collection[str]], ...] = (
    ("forbidden AppArmor profile", _unconfined("appArmorProfile", "AppArmor profile type"), _BOTH),
    ("non-default capabilities", _capabilities, _BASELINE),
    ("host namespaces", _host_namespaces, _BOTH),
    ("hostPath volumes", _host_paths, _BASELINE),
    ("hostPort", _host_ports, _BOTH),
    ("probe or lifecycle host", _probed_hosts, _BOTH),
    ("privileged", _PRIVILEGED, _BOTH),
    ("procMount", _proc_mount, _BOTH),
    ("seLinuxOptions", _selinux, _BOTH),
    ("seccompProfile", _baseline_seccomp, _BASELINE),
    ("forbidden sysctls", _sysctls, _BOTH),
    ("allowPrivilegeEscalation != false", _ESCALATION, _RESTRICTED),
    ("unrestricted capabilities", _restricted_capabilities, _RESTRICTED),
    ("restricted volume types", _restricted_volumes, _RESTRICTED),
    ("runAsNonRoot != true", _non_root, _RESTRICTED),
    ("runAsUser=0", _user, _RESTRICTED),
    ("seccompProfile", _restricted_seccomp, _RESTRICTED),
)
_CHECKS = {
    level: [(reason, check) for reason, check, levels in _RULES if level in levels]
    for level in _LEVELS
}
