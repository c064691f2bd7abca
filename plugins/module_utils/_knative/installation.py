"""What a cluster has of Knative, and whether something may be done to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .._kubernetes.apply import PART_OF
from .._kubernetes.client import Client, may, permitted
from .releases import PROJECTS, Version, minimum_kubernetes, project_of_deployment

Object = dict[str, Any]
VERSION_LABEL = "app.kubernetes.io/version"
AUTOPILOT_NODE = "gk3-"  # how GKE begins the names of nodes that it manages; others are gke-
RECORD = "streamops-knative-release"  # ConfigMap: the versions whose migrations are done
# What an installation writes, as (API group, resource); checked one by one only where the caller is
# not allowed everything.
NEEDED = (
    ("", "namespaces"),
    ("", "configmaps"),
    ("", "secrets"),
    ("", "serviceaccounts"),
    ("", "services"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("apps", "deployments"),
    ("autoscaling", "horizontalpodautoscalers"),
    ("policy", "poddisruptionbudgets"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
)


@dataclass(frozen=True)
class Installed:
    """A project that is in the cluster. `manager` is who applied it last, by managedFields."""

    version: Version | None
    ours: bool
    manager: str


def installed(client: Client) -> dict[str, Installed]:
    """Return the installed projects by name; a project without Deployments is not installed."""
    resource = client.resource("apps/v1", "Deployment")
    found: dict[str, list[Object]] = {name: [] for name in PROJECTS}
    for namespace in dict.fromkeys(project.namespace for project in PROJECTS.values()):
        for deployment in client.list(resource, namespace):
            name = deployment["metadata"]["name"]
            found[project_of_deployment(namespace, name)].append(deployment)
    return {name: _describe(listed) for name, listed in found.items() if listed}


def _describe(deployments: list[Object]) -> Installed:
    labels = [deployment["metadata"].get("labels") or {} for deployment in deployments]
    texts = [entry.get(VERSION_LABEL, "") for entry in labels]
    versions = [
        Version.parse(text, VERSION_LABEL)
        for text in texts
        if re.fullmatch(r"v?\d+\.\d+\.\d+", text)
    ]
    owners = [
        entry.get("manager", "")
        for entry in deployments[0]["metadata"].get("managedFields") or []
        if not entry.get("subresource")
    ]
    return Installed(
        # The oldest: an upgrade that was broken off has to be finished from there.
        version=min(versions) if versions else None,
        ours=all(PART_OF in entry for entry in labels),
        manager=", ".join(dict.fromkeys(owners)) or "somebody",
    )


def migrated(client: Client, namespace: str) -> dict[str, str]:
    """Return versions by project whose post-install Jobs were run; empty when nothing is recorded."""
    record = client.get(client.resource("v1", "ConfigMap"), RECORD, namespace)
    data: dict[str, str] = (record or {}).get("data") or {}
    return data


def operated(client: Client) -> list[str]:
    """Return resources by which the Knative Operator governs the installation."""
    found = []
    for kind in ("KnativeServing", "KnativeEventing"):
        resource = client.resources().get(("operator.knative.dev/v1beta1", kind))
        if resource:
            found += [
                f"{kind} {obj['metadata']['namespace']}/{obj['metadata']['name']}"
                for obj in client.list(resource)
            ]
    return found


def is_autopilot(client: Client) -> bool:
    """Return whether the cluster is a GKE Autopilot one, by the name of one of its nodes."""
    nodes = client.resource("v1", "Node")
    page: Object = permitted(
        lambda: client.transport.request("GET", nodes.path(), query={"limit": 1}), {}
    )
    return any(
        node["metadata"]["name"].startswith(AUTOPILOT_NODE) for node in page.get("items") or []
    )


def upgrade_problem(project: str, have: Version | None, want: Version) -> str:
    """Return why this version cannot follow that one; empty when it can."""
    if have is None or (have.major, have.minor) == (want.major, want.minor):
        return ""
    if (want.major, want.minor) < (have.major, have.minor):
        return (
            f"{project}_version: {want} is older than the {have} that is installed. Knative does not"
            f" go back a minor release: set {have} or newer"
        )
    if want.major != have.major or want.minor > have.minor + 1:
        return (
            f"{project}_version: {have} is installed, and Knative is upgraded one minor release at a"
            f" time: set the newest {have.major}.{have.minor + 1}.x first, run, then go on to {want}"
        )
    return ""


def kubernetes_version(client: Client, planned: str) -> str:
    """Return the version of the cluster's Kubernetes, or a newer one that it is upgraded to before."""
    have: str = client.version().get("gitVersion", "")
    return max(have, planned, key=_minor)


def _minor(version: str) -> tuple[int, ...]:
    """Return the minor release of a Kubernetes, as (1, 34); empty when it is unknown."""
    match = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else ()


def kubernetes_problem(have: str, project: str, want: Version) -> str:
    """Return why a Kubernetes is too old; empty when it is not, or when that is unknown."""
    need = minimum_kubernetes(want)
    if not _minor(have) or need is None or _minor(have) >= need:
        return ""
    return (
        f"{project}_version: {want} needs Kubernetes {need[0]}.{need[1]}, the cluster has"
        f" {have}: upgrade the cluster, or choose an older {project}_version"
    )


def unknown_minimum(project: str, want: Version) -> str:
    """Return a warning that the oldest Kubernetes for a release is unknown; empty when it is known."""
    if minimum_kubernetes(want):
        return ""
    return (
        f"{project}_version: which Kubernetes {want} needs at least is unknown here, so it was not"
        " checked; its release notes have it"
    )


def missing_permissions(client: Client) -> list[str]:
    """Return what the caller may not write, as "customresourcedefinitions.apiextensions.k8s.io"."""
    if may(client, "*", "*", "*"):
        return []
    return [
        f"{resource}.{group}".rstrip(".")
        for group, resource in NEEDED
        if not all(may(client, group, resource, verb) for verb in ("create", "patch", "delete"))
    ]
