"""What a login lacks of the rights that a role needs in its namespaces. Only asks the API server.

`rules` are those of the ClusterRole in a role's `files/rights.yml`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from .._kubernetes.client import Client, Object, may
from .model import SUBJECTS, numbered

Rules = Iterable[Mapping[str, Any]]
Right = tuple[str, str, str]  # API group, resource, verb

SHOWN = 6  # rights named in a message
EVERY = "*"
#: Resources that are only needed for some pipelines, by what needs them.
WORKLOADS = {
    "Deployment": "deployments",
    "DaemonSet": "daemonsets",
    "StatefulSet": "statefulsets",
    "Job": "jobs",
    "CronJob": "cronjobs",
    "ContainerSource": "containersources",
}


def problems(
    client: Client, variable: str, role: str, namespaces: Collection[str], rights: Collection[Right]
) -> Iterator[str]:
    """Yield what the login may not do in the namespaces, a sentence for each.

    `variable` names the namespaces for messages.
    """
    if may(client, EVERY, EVERY, EVERY):
        return
    for namespace in sorted(namespaces):
        rules = _rules(client, namespace)
        lacking = [
            right
            for right in rights
            # Some authorizers answer only what they are asked.
            if not any(_covers(rule, right) for rule in rules)
            and not may(client, *right, namespace)
        ]
        if lacking:
            yield (
                f"{variable}: this login may not {_listed(lacking)} in namespace {namespace}. Have its"
                f" administrator bind the ClusterRole of roles/{role}/files/rights.yml there"
            )


def needed(rules: Rules, values: Mapping[str, Any], role: str) -> list[Right]:
    """Return the rights that a role needs with these variables."""
    unused = _unused(values) if role == "twitter_pipeline" else set()
    return [
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if (group, resource) not in unused and _exists(group, resource)
    ]


def _exists(group: str, resource: str) -> bool:
    """Return whether a rule of several groups and resources means this pair."""
    return (resource == "leases") == (group == "coordination.k8s.io")


def _unused(values: Mapping[str, Any]) -> set[tuple[str, str]]:
    pipelines = [pipeline for _prefix, pipeline in numbered(values)]
    workloads = {pipeline["workload"] for pipeline in pipelines}
    found = {
        (_group(name), resource) for name, resource in WORKLOADS.items() if name not in workloads
    }
    if not any(pipeline["viewer"] for pipeline in pipelines) and "KnativeService" not in workloads:
        found.add(("serving.knative.dev", "services"))
    if workloads == {"ContainerSource"}:
        found.add(("sources.knative.dev", "sinkbindings"))
    if not any(pipeline["delivery"] == "broker" for pipeline in pipelines):
        found |= {("eventing.knative.dev", "brokers"), ("eventing.knative.dev", "triggers")}
    if not values.get("twitter_pipeline_network_policy", True):
        found.add(("networking.k8s.io", "networkpolicies"))
    tokens = (
        values.get(f"twitter_pipeline_viewer_{name}_token") for name in ("read", "write", "proxy")
    )
    if not any(tokens):
        found.add(("", "secrets"))
        if not any(pipeline["status"] for pipeline in pipelines):
            found.add(("", "services"))
    return found


def _group(workload: str) -> str:
    if workload == "ContainerSource":
        return "sources.knative.dev"
    return "batch" if workload == "CronJob" else SUBJECTS[workload][0].partition("/")[0]


def _rules(client: Client, namespace: str) -> list[Mapping[str, Any]]:
    kind = client.resource("authorization.k8s.io/v1", "SelfSubjectRulesReview")
    review = {"apiVersion": kind.api_version, "kind": kind.kind, "spec": {"namespace": namespace}}
    status: Object = client.create(kind, review).get("status") or {}
    return [rule for rule in status.get("resourceRules") or [] if not rule.get("resourceNames")]


def _covers(rule: Mapping[str, Any], right: Right) -> bool:
    parts = (rule.get("apiGroups"), rule.get("resources"), rule.get("verbs"))
    return all(
        wanted in (given or ()) or EVERY in (given or ())
        for wanted, given in zip(right, parts, strict=True)
    )


def _listed(rights: Iterable[Right]) -> str:
    verbs: dict[str, list[str]] = {}
    for group, resource, verb in rights:
        verbs.setdefault(f"{resource}.{group}".rstrip("."), []).append(verb)
    named = [f"{'/'.join(found)} {resource}" for resource, found in verbs.items()]
    more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    return ", ".join(named[:SHOWN]) + more
