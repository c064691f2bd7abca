"""Build an apply bundle from the desired Knative configuration."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .._kubernetes.client import Client
from .._kubernetes.errors import KubeError
from .._kubernetes.manifests import Refused
from .._kubernetes.patches import Patch
from .._kubernetes.readiness import Condition
from . import installation as cluster
from . import kafka
from .customization import Settings
from .prerequisites import missing_prerequisites
from .releases import (
    COMPONENTS,
    PROJECTS,
    Files,
    Source,
    Version,
    check_components,
    ingress_of,
    projects_of,
)
from .upgrade_traps import Finding, findings

Object = dict[str, Any]
PULL_SECRET = "streamops-registry"  # noqa: S105 - a name
#: A pod that fits no node makes Autopilot add one. Serving would take it for a failure and give the revision up.
AUTOPILOT = {"pod-is-always-schedulable": "true"}
# Webhooks whose running program writes the rules; those in the files are only a first guess at them, and
# applying them again would fight it. Without rules a webhook is not asked before it runs.
SELF_RULED = {
    "serving": ("webhook.serving.knative.dev", "validation.webhook.serving.knative.dev"),
    "eventing": ("webhook.eventing.knative.dev", "validation.webhook.eventing.knative.dev"),
}
# Kinds of the releases that no controller reports on in an installation without cert-manager, or ever. Istio's
# schemas have conditions for all its kinds, and Istio sets them of some only.
SILENT = (
    *(
        Condition(kind, f"{kind_group}/{version}", type="")
        for kind, kind_group in (
            ("Gateway", "networking.istio.io"),
            ("PeerAuthentication", "security.istio.io"),
        )
        for version in ("v1", "v1beta1", "v1alpha3")
    ),
    Condition("Certificate", "networking.internal.knative.dev/v1alpha1", type=""),
    Condition("Image", "caching.internal.knative.dev/v1alpha1", type=""),
)


# eventing-core of 1.22 has a StatefulSet whose ServiceAccount and permissions it does not bring; later
# releases do. Without them its pod is never created.
_REQUEST_REPLY = "request-reply"
REQUEST_REPLY: tuple[Object, ...] = (
    {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": _REQUEST_REPLY, "namespace": "knative-eventing"},
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": f"knative-eventing-{_REQUEST_REPLY}"},
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["configmaps", "secrets"],
                "verbs": ["get", "list", "watch"],
            },
            {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
            {
                "apiGroups": ["eventing.knative.dev"],
                "resources": ["requestreplies", "requestreplies/status", "eventpolicies"],
                "verbs": ["get", "list", "watch", "patch"],
            },
            {
                "apiGroups": ["coordination.k8s.io"],
                "resources": ["leases"],
                "verbs": ["get", "list", "watch", "create", "update", "patch"],
            },
        ],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"knative-eventing-{_REQUEST_REPLY}"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": f"knative-eventing-{_REQUEST_REPLY}",
        },
        "subjects": [
            {"kind": "ServiceAccount", "name": _REQUEST_REPLY, "namespace": "knative-eventing"}
        ],
    },
)


@dataclass(frozen=True)
class DesiredState:
    """What the options of the module `knative` ask for."""

    components: list[str]
    versions: dict[str, Version]
    source: Source
    adopt: bool = False
    config: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    additional_manifests: list[str] = field(default_factory=list)
    #: Whether the cluster is a GKE Autopilot one; None where the cluster is to say it.
    autopilot: bool | None = None
    gateway: Object = field(default_factory=dict)
    #: How Kafka is reached, as in the option `kafka` of the module.
    kafka: Object = field(default_factory=dict)
    #: Version of Kubernetes that the cluster is upgraded to before, if it is known.
    planned_kubernetes: str = ""
    #: Of images, by those they replace, as these are written in the releases.
    references: dict[str, str] = field(default_factory=dict)
    #: `registry`, `username` and `password` to pull images with, or nothing.
    pull_login: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def projects(self) -> list[str]:
        """Projects any chosen component belongs to."""
        return projects_of(self.components)


@dataclass(frozen=True)
class Plan:
    """Options for `apply`, and what they are based on."""

    install: Files
    patches: list[Patch]
    extra_objects: list[Object]
    post_install: Files
    installed: dict[str, str]
    takes_over: bool
    prometheus: bool
    upgrade_findings: list[Finding]
    warnings: list[str]


def plan(client: Client, desired: DesiredState) -> Plan:
    """Decide what has to be applied; raise Refused with all reasons why it cannot be."""
    found = cluster.installed(client)
    problems = check_components(desired.components)
    if problems:
        raise Refused(problems)
    problems = refusals(client, desired, found)
    if desired.autopilot is None:
        desired = replace(desired, autopilot=cluster.is_autopilot(client))
    install = post_install = Files([], [])
    try:
        install = desired.source.files(desired.components, desired.versions)
        post_install = desired.source.post_install(
            _to_migrate(client, desired, found), desired.versions
        )
    except KubeError as error:
        problems.append(str(error))
    if problems:
        raise Refused(problems)
    traps = _traps(client, desired, found)
    unknown = [
        cluster.unknown_minimum(project, desired.versions[project])
        for project in desired.projects
        if PROJECTS[project].is_core
    ]
    return Plan(
        install=install,
        patches=patches(desired),
        extra_objects=extra_objects(desired),
        post_install=post_install,
        installed={name: str(part.version or "unknown") for name, part in found.items()},
        takes_over=any(not part.ours for name, part in found.items() if name in desired.projects),
        prometheus=("monitoring.coreos.com/v1", "PodMonitor") in client.resources(),
        upgrade_findings=traps,
        warnings=[*filter(None, unknown), *map(str, traps)],
    )


def _traps(
    client: Client, desired: DesiredState, found: Mapping[str, cluster.Installed]
) -> list[Finding]:
    """Return what the upgrades of the chosen projects meet."""
    wanted = {project: desired.versions[project] for project in desired.projects}
    return findings(client, {name: part.version for name, part in found.items()}, wanted)


def refusals(
    client: Client, desired: DesiredState, found: Mapping[str, cluster.Installed]
) -> list[str]:
    """Return the reasons why the installation is refused, a sentence each; only reads."""
    problems = []
    kubernetes = cluster.kubernetes_version(client, desired.planned_kubernetes)
    for project in desired.projects:
        want = desired.versions[project]
        have = found[project].version if project in found else None
        problems += [
            cluster.upgrade_problem(project, have, want),
            desired.source.contradiction(project, want),
        ]
        if PROJECTS[project].is_core:
            problems.append(cluster.kubernetes_problem(kubernetes, project, want))
    problems += _ownership_problems(client, desired, found)
    problems += missing_prerequisites(client, desired.components, desired.config)
    problems += kafka.problems(client, desired.components, desired.kafka)
    missing = cluster.missing_permissions(client)
    if missing:
        problems.append(
            f"The caller may not create, patch and delete {', '.join(missing)}: installing Knative"
            " takes the role cluster-admin"
        )
    return [problem for problem in problems if problem]


def _ownership_problems(
    client: Client, desired: DesiredState, found: Mapping[str, cluster.Installed]
) -> list[str]:
    operated = cluster.operated(client)
    if operated:
        return [
            f"The Knative Operator governs this installation ({', '.join(operated)}) and would undo"
            " every change: set the version there, or delete these resources first"
        ]
    if desired.adopt:
        return []
    return [
        f"{project} {part.version or ''} is installed already, by {part.manager}: set adopt to take"
        " it over, or leave the component out"
        for project, part in found.items()
        if project in desired.projects and not part.ours
    ]


def _to_migrate(
    client: Client, desired: DesiredState, found: Mapping[str, cluster.Installed]
) -> list[str]:
    """Return installed projects whose post-install Jobs were last run for another version, or never.

    The record is written after the Jobs, so an upgrade that was broken off comes back here.
    """
    projects = []
    for project in desired.projects:
        part, want = found.get(project), desired.versions[project]
        if part is None or not PROJECTS[project].post_install:
            continue
        done = cluster.migrated(client, PROJECTS[project].namespace).get(project, str(part.version))
        if done != str(want):
            projects.append(project)
    return projects


def patches(desired: DesiredState) -> list[Patch]:
    """Return the patches with configuration and gateway."""
    changes = []
    if desired.autopilot and "serving" in desired.projects:
        name, namespace = "config-deployment", PROJECTS["serving"].namespace
        changes.append(Patch({"data": AUTOPILOT}, "ConfigMap", name, namespace))
    changes += [
        Patch({"data": _texts(name, data)}, "ConfigMap", name, PROJECTS[project].namespace)
        for project, maps in desired.config.items()
        if project in desired.projects
        for name, data in maps.items()
    ]
    ingress = ingress_of(desired.components)
    if ingress:
        data = {"ingress-class": COMPONENTS[ingress].ingress_class}
        namespace = PROJECTS["serving"].namespace
        changes.append(Patch({"data": data}, "ConfigMap", "config-network", namespace))
    if ingress == "kourier":
        changes += _gateway(desired.gateway)
    if "kafka_broker" in desired.projects:
        namespace = PROJECTS["kafka_broker"].namespace
        changes += [
            Patch({"data": data}, "ConfigMap", name, namespace)
            for name, data in kafka.config_maps(desired.kafka).items()
        ]
    for project in desired.projects:
        for name in SELF_RULED.get(project, ()):
            kind = "Validating" if name.startswith("validation.") else "Mutating"
            rules = {"webhooks": [{"name": name, "rules": None}]}
            changes.append(Patch(rules, f"{kind}WebhookConfiguration", name))
    return changes


def extra_objects(desired: DesiredState) -> list[Object]:
    """Return objects that a release lacks."""
    affected = "eventing" in desired.components and desired.versions["eventing"].line == "1.22"
    return list(REQUEST_REPLY) if affected else []


def pull_secrets(desired: DesiredState) -> list[Object]:
    """Return the Secrets to pull images with, one in each namespace."""
    login = desired.pull_login
    auth = base64.b64encode(f"{login['username']}:{login['password']}".encode()).decode()
    config = json.dumps({"auths": {login["registry"]: {"auth": auth}}})
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": PULL_SECRET, "namespace": namespace},
            "data": {".dockerconfigjson": base64.b64encode(config.encode()).decode()},
        }
        for namespace in dict.fromkeys(PROJECTS[name].namespace for name in desired.projects)
    ]


def _texts(name: str, data: Mapping[str, Any]) -> dict[str, str]:
    """Return values of a ConfigMap: true becomes "true", as its readers expect."""
    if "_example" in data:
        raise Refused([f"config: {name}: _example documents the map and is guarded by a checksum"])
    return {
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in data.items()
    }


def _gateway(gateway: Object) -> list[Patch]:
    spec: Object = {"type": gateway.get("service_type") or "LoadBalancer"}
    if gateway.get("node_port"):
        spec["ports"] = [{"name": "http2", "nodePort": gateway["node_port"]}]
    merge: Object = {"spec": spec}
    if gateway.get("annotations"):
        merge["metadata"] = {"annotations": gateway["annotations"]}
    return [Patch(merge, "Service", "kourier", PROJECTS["kourier"].namespace)]
