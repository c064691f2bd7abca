"""What a live cluster holds against a run, before the run changes anything. Only reads.

`values` are the variables of the roles, complete: defaults filled in and templated. What the caller may
not read counts as fine: the run itself reports it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from .._airgap import contents
from .._airgap.archive import Archive
from .._airgap.errors import BundleError
from .._knative import bundle
from .._knative.installation import Installed, installed
from .._knative.releases import (
    COMPONENTS,
    PROJECTS,
    Source,
    Version,
    minimum_kubernetes,
    projects_of,
)
from .._kubernetes.client import Client, Object, UnknownKind, look_up, permitted
from . import ownership, rights
from .model import VIEWER, Pipeline, numbered

#: The oldest releases whose SinkBindings, Brokers and Services have everything the templates use.
OLDEST = {"serving": Version(1, 21, 0), "eventing": Version(1, 21, 0)}
#: Options of the module `knative` by the role's variables, for messages.
VARIABLES = {
    **{f"{project}_version": f"knative_eventing_{project}_version" for project in PROJECTS},
    "eventing_version": "knative_eventing_version",
    "components": "knative_eventing_components",
}

Values = Mapping[str, Any]


def problems(
    client: Client,
    roles: Collection[str],
    values: Values,
    rules: Mapping[str, rights.Rules] | None = None,
) -> list[str]:
    """Return every reason why these roles cannot do their work on this cluster, a sentence each.

    `rules` are what the roles may need to be allowed, by role.

    Each begins with the variable to look at. Raises KubeError when the cluster does not answer.
    """
    present = {role for role in roles if values[f"{role}_state"] == "present"}
    found = list(_terminating(client, present, values))
    lacking = list(_rights(client, present, values, rules or {}))
    if lacking:
        return found + lacking
    found += ownership.problems(client, present, values)
    installs = "knative_eventing" in present
    if installs:
        found += _installation(client, values)
        found += _platforms(client, values)
    if "twitter_pipeline" in present:
        if not installs:
            found += _knative(client, values)
        found += _broker_classes(client, values, installs=installs)
        found += dict.fromkeys(_sinks(client, values, installs=installs))
        found += _features(client, values)
    if "event_driven" in present and values["event_driven_broker"]:
        found += _events(client, values, made="twitter_pipeline" in present)
    return found


def _rights(
    client: Client, roles: Collection[str], values: Values, rules: Mapping[str, rights.Rules]
) -> Iterator[str]:
    for role in sorted(roles & rules.keys()):
        spaces = {space: variable for variable, space in _namespaces({role}, values)}
        if spaces:
            wanted = rights.needed(rules[role], values, role)
            variable, *_others = spaces.values()
            yield from rights.problems(client, variable, role, spaces, wanted)


# -- namespaces ------------------------------------------------------------------------------


def _terminating(client: Client, roles: Collection[str], values: Values) -> Iterator[str]:
    needed: dict[str, str] = {}
    for variable, namespace in _namespaces(roles, values):
        needed.setdefault(namespace, variable)
    for namespace, variable in needed.items():
        there = look_up(client, "v1", "Namespace", namespace)
        if there and "deletionTimestamp" in there["metadata"]:
            yield (
                f"{variable}: the namespace {namespace} is being deleted{_held(there)}. Wait until"
                f" it is gone; kubectl get namespace {namespace} -o yaml shows what it waits for"
            )


def _namespaces(roles: Collection[str], values: Values) -> Iterator[tuple[str, str]]:
    """Yield (variable, namespace) of all that the roles put something into."""
    if "twitter_pipeline" in roles:
        for prefix, pipeline in numbered(values):
            yield f"{prefix}namespace", pipeline["namespace"]
    if "event_driven" in roles:
        yield "event_driven_namespace", values["event_driven_namespace"]
    if "secrets" in roles and values["secrets_backend"] == "kubernetes":
        for index, consumer in enumerate(values["secrets_consumers"]):
            yield f"secrets_consumers[{index}].namespace", consumer["namespace"]
    if "knative_eventing" in roles:
        for project in _desired_state(values).projects:
            yield "knative_eventing_components", PROJECTS[project].namespace


def _held(namespace: Object) -> str:
    conditions = (namespace.get("status") or {}).get("conditions") or []
    reasons = [c["message"] for c in conditions if c["status"] == "True" and c.get("message")]
    return f" ({'; '.join(reasons)})" if reasons else ""


# -- Knative ---------------------------------------------------------------------------------


def _installation(client: Client, values: Values) -> list[str]:
    """Return why the role knative_eventing cannot install or upgrade."""
    desired = _desired_state(values)
    return [_renamed(text) for text in bundle.refusals(client, desired, installed(client))]


def _platforms(client: Client, values: Values) -> list[str]:
    """Return why no node of the cluster runs the images of the bundle."""
    if not values.get("knative_eventing_bundle"):
        return []
    path = Path(values["knative_eventing_bundle"]).expanduser().absolute()
    try:
        offered = contents.read(Archive.read(path)).platforms
    except BundleError:  # the check of the variables reports it
        return []
    nodes: list[Object] = permitted(lambda: client.list(client.resource("v1", "Node")), [])
    described = [(node.get("status") or {}).get("nodeInfo") or {} for node in nodes]
    present = {f"{info.get('operatingSystem')}/{info.get('architecture')}" for info in described}
    if not offered or not nodes or present & set(offered):
        return []
    return [
        f"knative_eventing_bundle: {path} is for {', '.join(offered)}, and the cluster's nodes are"
        f" {', '.join(sorted(present))}: make it with their platforms in"
        " knative_eventing_bundle_platforms"
    ]


def _desired_state(values: Values) -> bundle.DesiredState:
    # Unknown ones are refused by the role's specification.
    components = [name for name in values["knative_eventing_components"] if name in COMPONENTS]
    variables = {name: VARIABLES[f"{name}_version"] for name in projects_of(components)}
    return bundle.DesiredState(
        components=components,
        versions={
            project: Version.parse(values[variable], variable)
            for project, variable in variables.items()
        },
        config=values.get("knative_eventing_config") or {},
        kafka=values.get("knative_eventing_kafka") or {},
        source=Source(folder=values["knative_eventing_folder"]),
        adopt=bool(values["knative_eventing_adopt"]),
        # Known where the role that upgrades the cluster is part of the run.
        planned_kubernetes=values.get("gcp_cluster_kubernetes_version") or "",
    )


def needed_kubernetes(roles: Collection[str], values: Values) -> tuple[int, int] | None:
    """Return the oldest Kubernetes (major, minor) for the Knative asked for; None for none, or where it is unknown."""
    if "knative_eventing" not in roles or values["knative_eventing_state"] != "present":
        return None
    desired = _desired_state(values)
    projects = [name for name in desired.projects if PROJECTS[name].is_core]
    known = [minimum_kubernetes(desired.versions[name]) for name in projects]
    return max(filter(None, known), default=None)


def _renamed(problem: str) -> str:
    option, _separator, text = problem.partition(": ")
    if option in VARIABLES:
        return f"{VARIABLES[option]}: {text}"
    if option.startswith(("config.", "kafka.")):
        return f"knative_eventing_{problem}"
    return f"knative_eventing_state: {problem.replace('set adopt', 'set knative_eventing_adopt')}"


def _knative(client: Client, values: Values) -> Iterator[str]:
    """Yield why pipelines cannot run on the Knative that is there, where this run does not install one."""
    needed: dict[str, set[tuple[str, str]]] = {}
    for _number, pipeline in numbered(values):
        for project, kind in _kinds(pipeline):
            needed.setdefault(project, set()).add(kind)
    there: dict[str, Installed] = permitted(lambda: installed(client), {})
    for project, kinds in sorted(needed.items()):
        title = f"{VARIABLES[f'{project}_version']}: Knative {project.capitalize()}"
        advice = "Run playbooks/eventing.yml (or site.yml) first"
        missing = sorted(f"{version} {kind}" for version, kind in kinds - set(client.resources()))
        have = there[project].version if project in there else None
        if missing and project not in there:
            yield f"{title} is not installed. {advice}"
        elif missing or (have and have < OLDEST[project]):
            lacks = f" and serves no {', '.join(missing)}" if missing else ""
            yield (
                f"{title} {have or '(of unknown version)'} is too old{lacks}: the pipelines need"
                f" {OLDEST[project].line} or newer. {advice}"
            )


def _kinds(pipeline: Pipeline) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield (project, (apiVersion, kind)) of what the role makes for a pipeline."""
    source = "SinkBinding" if pipeline["subject"] else "ContainerSource"
    yield "eventing", ("sources.knative.dev/v1", source)
    if pipeline["delivery"] == "broker":
        yield "eventing", ("eventing.knative.dev/v1", "Broker")
        yield "eventing", ("eventing.knative.dev/v1", "Trigger")
    if pipeline["viewer"] or pipeline["workload"] == "KnativeService":
        yield "serving", ("serving.knative.dev/v1", "Service")


#: By class of Brokers, the component that delivers for it and a Deployment of that.
DATA_PLANES = {
    "Kafka": ("kafka-broker", "kafka-broker-receiver"),
    "RabbitMQBroker": ("rabbitmq-broker", "rabbitmq-broker-controller"),
}


def _broker_classes(client: Client, values: Values, *, installs: bool) -> Iterator[str]:
    """Yield which pipelines' Brokers nobody would make work."""
    for prefix, pipeline in numbered(values):
        name = pipeline["broker"].get("class", "")
        component, deployment = DATA_PLANES.get(name, ("", ""))
        if not component:
            continue
        if installs:
            lacking = component not in values["knative_eventing_components"]
        else:
            space = PROJECTS["eventing"].namespace
            lacking = look_up(client, "apps/v1", "Deployment", deployment, space) is None
        if lacking:
            yield (
                f"{prefix}broker.class: {name} needs the component {component}: add it to"
                " knative_eventing_components and run playbooks/eventing.yml (or site.yml)"
            )


#: Keys of config-features that let a Knative Service take parts of a pod.
FEATURES = {
    "nodeSelector": "kubernetes.podspec-nodeselector",
    "tolerations": "kubernetes.podspec-tolerations",
    "affinity": "kubernetes.podspec-affinity",
    "priorityClassName": "kubernetes.podspec-priorityclassname",
    "fieldRef": "kubernetes.podspec-fieldref",
    "resourceFieldRef": "kubernetes.podspec-fieldref",
    "persistentVolumeClaim": "kubernetes.podspec-persistent-volume-claim",
    "csi": "kubernetes.podspec-volumes-csi",
    "ephemeral": "kubernetes.podspec-volumes-ephemeral",
}


def _features(client: Client, values: Values) -> list[str]:
    """Return which parts of Knative Services' pods Knative refuses as it is configured."""
    pods = {
        f"{prefix}pod": pipeline["pod"]
        for prefix, pipeline in numbered(values)
        if pipeline["workload"] == "KnativeService" and pipeline.get("pod")
    }
    if viewer := values.get("twitter_pipeline_viewer_pod"):
        pods["twitter_pipeline_viewer_pod"] = viewer
    needed = [(name, part) for name, pod in pods.items() for part in _gated(pod)]
    if not needed:
        return []
    there = look_up(client, "v1", "ConfigMap", "config-features", PROJECTS["serving"].namespace)
    if there == {}:  # it may not be read
        return []
    wanted = (values.get("knative_eventing_config") or {}).get("serving") or {}
    features = {**((there or {}).get("data") or {}), **(wanted.get("config-features") or {})}
    return [
        f"{name}.{part}: a Knative Service takes it only where the feature {FEATURES[key]} is enabled;"
        f" set knative_eventing_config: {{serving: {{config-features: {{{FEATURES[key]}: enabled}}}}}}"
        for name, part in dict.fromkeys(needed)
        for key in [part.rpartition(".")[2]]
        if str(features.get(FEATURES[key], "disabled")).lower() not in ("enabled", "allowed")
    ]


def _gated(pod: Mapping[str, Any]) -> Iterator[str]:
    """Yield the parts of a pod that a feature of Knative Serving allows."""
    yield from (key for key in pod if key in FEATURES)
    for index, entry in enumerate(pod.get("env") or []):
        kinds = entry.get("valueFrom") or {}
        yield from (f"env[{index}].valueFrom.{kind}" for kind in kinds if kind in FEATURES)
    for index, volume in enumerate(pod.get("volumes") or []):
        yield from (f"volumes[{index}].{kind}" for kind in volume if kind in FEATURES)


# -- the rulebook's Broker -------------------------------------------------------------------


def _events(client: Client, values: Values, *, made: bool) -> list[str]:
    """Return why a rulebook would get no events; `made` is whether this run makes pipelines' Brokers."""
    name, namespace = values["event_driven_broker"], values["event_driven_namespace"]
    try:
        there = look_up(client, "eventing.knative.dev/v1", "Broker", name, namespace)
    except UnknownKind:
        return [
            "event_driven_broker: Knative Eventing is not installed. Run playbooks/eventing.yml (or site.yml)"
            " first"
        ]
    if there is not None or made:
        return []
    return [
        f"event_driven_broker: there is no Broker {name} in namespace {namespace}. A pipeline with"
        " twitter_pipeline_delivery: broker makes one of its name; for a rulebook that gets no events set it"
        ' to ""'
    ]


# -- sinks -----------------------------------------------------------------------------------


def _sinks(client: Client, values: Values, *, installs: bool) -> Iterator[str]:
    """Yield why sinks cannot be reached, each as often as a reference names it."""
    pipelines = list(numbered(values))
    own = {pipeline["namespace"] for _number, pipeline in pipelines}
    made = {key for _number, pipeline in pipelines for key in _made(pipeline)}
    for prefix, pipeline in pipelines:
        for name, reference in _references(pipeline):
            namespace = reference.get("namespace") or pipeline["namespace"]
            if (reference["kind"], namespace, reference["name"]) in made:
                continue
            if namespace not in own and look_up(client, "v1", "Namespace", namespace) is None:
                yield f"{prefix}{name}: there is no namespace {namespace}"
            elif problem := _absent(client, reference, namespace, installs=installs):
                yield f"{prefix}{name}: {problem}"


def _made(pipeline: Pipeline) -> Iterator[tuple[str, str, str]]:
    """Yield (kind, namespace, name) of the sinks that the role itself makes."""
    if pipeline["viewer"]:
        yield VIEWER["kind"], pipeline["namespace"], VIEWER["name"]
    if pipeline["broker"]:
        yield "Broker", pipeline["namespace"], pipeline["broker"]["name"]


def _references(pipeline: Pipeline) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (variable without its prefix, reference) of every sink of a pipeline."""
    sinks = []
    if pipeline["delivery"] == "direct":
        sinks.append(("sink", pipeline["sink"]))
    else:
        sinks.append(("dead_letter", pipeline["dead_letter"]))
        sinks.append(("broker.delivery.deadLetterSink", _dead_letter(pipeline["broker"])))
        for index, trigger in enumerate(pipeline["triggers"]):
            name = f"triggers[{index}]"
            sinks.append((f"{name}.sink", trigger.get("sink")))
            sinks.append((f"{name}.delivery.deadLetterSink", _dead_letter(trigger)))
    for name, sink in sinks:
        if sink and sink.get("ref"):
            yield f"{name}.ref", sink["ref"]


def _dead_letter(item: Mapping[str, Any]) -> Any:
    return (item.get("delivery") or {}).get("deadLetterSink")


def _absent(client: Client, reference: Mapping[str, Any], namespace: str, *, installs: bool) -> str:
    try:
        there = look_up(
            client, reference["apiVersion"], reference["kind"], reference["name"], namespace
        )
    except UnknownKind as error:
        group = reference["apiVersion"].partition("/")[0]
        # The run is about to bring Knative's own kinds, or was told that they are missing.
        return "" if group.endswith("knative.dev") else str(error)
    if there is None:
        return f"there is no {reference['kind']} {reference['name']} in namespace {namespace}"
    return ""
