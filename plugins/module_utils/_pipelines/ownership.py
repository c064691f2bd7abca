"""What belongs to another scope, and what a run would delete for good. Only reads.

`values` are the variables of the roles by their full names, complete.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from .._knative.installer import APPLY_SET as KNATIVE
from .._kubernetes.apply import Applier, Item, Settings
from .._kubernetes.apply_set import ApplySet
from .._kubernetes.client import FORBIDDEN, Client
from .._kubernetes.errors import ApiError
from .._kubernetes.manifests import Refused
from .deployment import APPLY_SET, PRODUCERS
from .model import VIEWER, numbered

Values = Mapping[str, Any]

#: Where the installation of Knative is recorded, of which a cluster has one.
KNATIVE_NAMESPACE = "default"
STATE = "-state"  # after the name of a pipeline, the ConfigMap with its checkpoint
REMEDIES = {
    "knative_eventing": (
        "let its owner manage Knative and run playbooks/secrets.yml and playbooks/pipeline.yml only"
    ),
    "secrets": "choose another secrets_kubernetes_name or namespaces of your own",
    "twitter_pipeline": "give the pipelines names and namespaces of their own",
    "event_driven": "give the rulebook an event_driven_name of its own",
}


def problems(client: Client, roles: Collection[str], values: Values) -> list[str]:
    """Return what is another owner's, and which histories would be deleted, a sentence each."""
    found = []
    if "knative_eventing" in roles:
        found += _open(client, "knative_eventing", values, KNATIVE, [KNATIVE_NAMESPACE])[1]
    if "secrets" in roles and values["secrets_backend"] == "kubernetes":
        spaces = [consumer["namespace"] for consumer in values["secrets_consumers"]]
        name = f"streamops-{values['secrets_kubernetes_name']}"
        found += _open(client, "secrets", values, name, spaces)[1]
    if "event_driven" in roles:
        name = f"streamops-rulebook-{values['event_driven_name']}"
        found += _open(client, "event_driven", values, name, [values["event_driven_namespace"]])[1]
    if "twitter_pipeline" in roles:
        pipelines = [pipeline for _prefix, pipeline in numbered(values)]
        spaces = [pipeline["namespace"] for pipeline in pipelines]
        for name in (PRODUCERS, APPLY_SET):
            apply_set, refused = _open(client, "twitter_pipeline", values, name, spaces)
            found += refused
        if apply_set and not values["twitter_pipeline_delete_history"]:
            found += _histories(apply_set, pipelines, values["twitter_pipeline_scope"])
    return list(dict.fromkeys(found))


def _open(
    client: Client, role: str, values: Values, name: str, namespaces: list[str]
) -> tuple[ApplySet | None, list[str]]:
    """Return the role's apply set, or why it cannot be used."""
    scope = values[f"{role}_scope"]
    applier = Applier(client, Settings())
    try:
        return ApplySet(client, applier, name, namespaces[0], "", scope, namespaces), []
    except ApiError as error:
        if error.status == FORBIDDEN:
            return None, []
        raise
    except Refused as error:
        said = [text.removeprefix("apply_set: ") for text in error.problems]
        return None, [f"{role}_scope: {text}; or {REMEDIES[role]}" for text in said]


def _histories(
    apply_set: ApplySet, pipelines: Iterable[Mapping[str, Any]], scope: str
) -> list[str]:
    pipelines = list(pipelines)
    staying = {(p["namespace"], f"{p['name']}{STATE}") for p in pipelines}
    staying |= {(p["namespace"], VIEWER["name"]) for p in pipelines if p["viewer"]}
    members = apply_set.members(only=("ConfigMap", "Service.serving.knative.dev"))
    going = [
        said
        for item in members
        if (item.namespace, item.name) not in staying and (said := _history(item))
    ]
    if not going:
        return []
    return [
        f"twitter_pipeline_delete_history: this run would delete {', '.join(sorted(going))} of the scope"
        f" '{scope}'. If that is another team's, give this inventory a twitter_pipeline_scope of its own;"
        " if it is to go, set twitter_pipeline_delete_history: true"
    ]


def _history(item: Item) -> str:
    """Return what is lost with a member of the set; empty when nothing is."""
    if (
        item.resource.kind == "ConfigMap"
        and item.name.endswith(STATE)
        and item.definition.get("data")
    ):
        return f"the checkpoint in ConfigMap {item.namespace}/{item.name}"
    if item.resource.kind == VIEWER["kind"] and item.name == VIEWER["name"]:
        return f"the viewer {item.namespace}/{item.name} with its history"
    return ""
