"""Settings of Knative's workloads and of what is around them, made part of a release's objects.

Fields are those of the Knative Operator
(https://knative.dev/docs/install/operator/configuring-with-operator/). As the objects are applied with them in
place, upstream's value comes back when a setting is taken away.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .._kubernetes.client import Client, look_up
from .._kubernetes.patches import merge
from .._module.suggestion import meant
from .image_overrides import Replacement
from .images import references, replaced
from .kafka import BROKER_CONFIG

Object = dict[str, Any]
ALL = "all"
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
_POD_OWNERS = (*WORKLOADS, "Job")
#: Fields of a pod that take the place of upstream's.
_POD_FIELDS = ("tolerations", "affinity", "topologySpreadConstraints")
#: A PodDisruptionBudget has one of these.
LIMITS = ("minAvailable", "maxUnavailable")
_PROBES = {"livenessProbes": "livenessProbe", "readinessProbes": "readinessProbe"}
#: ConfigMaps with the defaults of brokers, by the classes that do not take those of the in-memory channel.
_BROKER_CONFIG = {"Kafka": BROKER_CONFIG}
_BROKER_DEFAULTS = "config-br-defaults"
_CERTIFICATES = "/custom-certs"
_MOST_PODS = 100


@dataclass(frozen=True)
class Settings:
    """Options of the module `knative` that change objects of a release; names as there."""

    workloads: list[Object] = field(default_factory=list)
    services: list[Object] = field(default_factory=list)
    pod_disruption_budgets: list[Object] = field(default_factory=list)
    namespace_metadata: Object = field(default_factory=dict)
    custom_certs: Object = field(default_factory=dict)
    selection_mode: str = ""
    broker_class: str = ""
    registry: str = ""
    images: dict[str, str] = field(default_factory=dict)
    image_pull_secrets: list[str] = field(default_factory=list)


class Customization:
    """Applies settings to the objects of a release, which it has to be given all at once."""

    def __init__(self, settings: Settings, release: Iterable[Object]) -> None:
        self._settings = settings
        self._objects = list(release)
        self._workloads = self._named(*WORKLOADS)
        self._budgets = self._named("PodDisruptionBudget")
        self._autoscalers = {
            item["spec"]["scaleTargetRef"]["name"]: item["metadata"]["name"]
            for item in self._objects
            if item["kind"] == "HorizontalPodAutoscaler"
        }
        self._images = Replacement(settings.registry, settings.images)

    def _named(self, *kinds: str) -> dict[str, Object]:
        return {item["metadata"]["name"]: item for item in self._objects if item["kind"] in kinds}

    # -- what is wrong -----------------------------------------------------------------------

    def problems(self) -> list[str]:
        """Return why the settings do not fit the release, a sentence each."""
        named = [reference for item in self._objects for reference in references(item)]
        found = [
            *self._unknown("workloads", self._settings.workloads, self._workloads, "workload"),
            *self._unknown_containers(),
            *_invalid_budgets(self._settings.pod_disruption_budgets),
            *self._unknown("services", self._settings.services, self._named("Service"), "Service"),
            *self._unknown(
                "pod_disruption_budgets",
                self._settings.pod_disruption_budgets,
                self._budgets,
                "PodDisruptionBudget",
            ),
            *self._images.problems(named),
        ]
        return found or [*self._blocking_budgets(), *self._without_target()]

    def _unknown(
        self, option: str, entries: list[Object], known: Collection[str], what: str
    ) -> Iterator[str]:
        for number, entry in enumerate(entries):
            if entry["name"] not in (ALL, *known):
                yield (
                    f"{option}[{number}].name: the chosen components have no {what} '{entry['name']}';"
                    f" {meant(entry['name'], known)}"
                )

    def _unknown_containers(self) -> Iterator[str]:
        for number, entry in enumerate(self._settings.workloads):
            known = {
                container["name"]: container
                for name, workload in self._workloads.items()
                if entry["name"] in (ALL, name)
                for container in _pod(workload)["containers"]
            }
            for key in ("resources", "env", *_PROBES):
                for index, item in enumerate(entry.get(key) or []):
                    name = item.get("container")
                    if not known or not name:
                        continue
                    place = f"workloads[{number}].{key}[{index}].container: {entry['name']}"
                    if name not in known:
                        yield f"{place} has no container '{name}'; {meant(name, known)}"
                    elif key in _PROBES and _PROBES[key] not in known[name]:
                        yield f"{place}: the container '{name}' has no {_PROBES[key]} to change"

    def _blocking_budgets(self) -> Iterator[str]:
        """Yield problems of budgets by which no pod may ever be evicted, as draining a node takes."""
        for name, budget in self._budgets.items():
            key, limit = self._limit(name)
            pods = self._pods(budget)
            if pods is None or _evictable(key, limit, pods) > 0:
                continue
            enough = next((n for n in range(2, _MOST_PODS) if _evictable(key, limit, n) > 0), None)
            advice = f"set replicas to at least {enough}, or " if enough else ""
            yield (
                f"pod_disruption_budgets: {name} with {key}: {limit} lets none of {pods} pods be evicted,"
                f" so that draining a node never ends: {advice}set maxUnavailable: 1"
            )

    def _pods(self, budget: Object) -> int | None:
        """Return how many pods a budget is about, at least; None where it selects no workload."""
        labels = (budget["spec"].get("selector") or {}).get("matchLabels") or {}
        for name, workload in self._workloads.items():
            template = workload["spec"]["template"]["metadata"].get("labels") or {}
            if labels and labels.items() <= template.items():
                governed = self._autoscalers.get(name)
                scaled = self.changed(
                    self._named("HorizontalPodAutoscaler")[governed] if governed else workload
                )
                found: int = scaled["spec"].get("minReplicas" if governed else "replicas", 1)
                return found
        return None

    def _without_target(self) -> Iterator[str]:
        """Yield problems of settings of one object that the chosen components do not have."""
        for option, kind, name in (
            ("custom_certs", "Deployment", "controller"),
            ("selection_mode", "Deployment", "eventing-webhook"),
            ("broker_class", "ConfigMap", _BROKER_DEFAULTS),
        ):
            if getattr(self._settings, option) and name not in self._named(kind):
                yield f"{option}: the chosen components have no {kind} {name} to set it in"

    # -- changes -----------------------------------------------------------------------------

    def pulled(self, reference: str) -> str:
        """Return the reference that an image is pulled by, in place of one of the release's."""
        return self._images(reference)

    def changed(self, definition: Object) -> Object:
        """Return an object with the settings in place; itself where none is about it."""
        kind, name = definition["kind"], definition["metadata"]["name"]
        change: Object = {}
        if kind in WORKLOADS:
            definition = self._workload(definition)
        elif kind == "HorizontalPodAutoscaler":
            change = self._scale(definition)
        elif kind == "PodDisruptionBudget":
            key, limit = self._limit(name)
            change = {"spec": {**dict.fromkeys(LIMITS), key: limit}}
        elif kind == "Service":
            for entry in _about(name, self._settings.services):
                change = merge(change, _metadata(entry))
        elif kind == "Namespace":
            change = _metadata(self._settings.namespace_metadata)
        elif kind == "ConfigMap" and name == _BROKER_DEFAULTS and self._settings.broker_class:
            change = {"data": _broker_defaults(definition["data"], self._settings.broker_class)}
        if change:
            definition = merge(definition, change)
        if self._settings.registry or self._settings.images:
            definition = replaced(definition, self._images)
        return self._pulled(definition)

    def _limit(self, name: str) -> tuple[str, int | str]:
        """Return the field and the value of a budget; by itself it lets one pod be evicted.

        Upstream's 80 % of a single pod, which is the default, lets none.
        """
        for entry in reversed(_about(name, self._settings.pod_disruption_budgets)):
            for key in LIMITS:
                if entry.get(key):
                    value = str(entry[key])
                    return key, int(value) if value.isdecimal() else value
        return "maxUnavailable", 1

    def _replicas(self, name: str) -> int | None:
        entries = _about(name, self._settings.workloads)
        given = [entry["replicas"] for entry in entries if entry.get("replicas") is not None]
        return given[-1] if given else None

    def _scale(self, autoscaler: Object) -> Object:
        """Return the change of an autoscaler, which owns the number of pods: what is set is its lower bound."""
        wanted = self._replicas(autoscaler["spec"]["scaleTargetRef"]["name"])
        if wanted is None:
            return {}
        most = max(wanted, autoscaler["spec"].get("maxReplicas", wanted))
        return {"spec": {"minReplicas": wanted, "maxReplicas": most}}

    def _workload(self, definition: Object) -> Object:
        name = definition["metadata"]["name"]
        changed = definition
        for entry in _about(name, self._settings.workloads):
            changed = _with_entry(changed, entry)
        if name not in self._autoscalers and self._scales(definition):
            replicas = self._replicas(name)
            if replicas is not None:
                changed = merge(changed, {"spec": {"replicas": replicas}})
        if name == "controller" and self._settings.custom_certs:
            changed = _with_certificates(changed, self._settings.custom_certs)
        if name == "eventing-webhook" and self._settings.selection_mode:
            mode = {"name": "SINK_BINDING_SELECTION_MODE", "value": self._settings.selection_mode}
            changed = _with_containers(changed, "", partial(_with_env, variables=[mode]))
        return changed

    def _scales(self, definition: Object) -> bool:
        """Return whether the number of pods is people's to set.

        What a controller starts when it is needed has none in the release, and a StatefulSet's pods share work
        by their number: those have to be named.
        """
        name = definition["metadata"]["name"]
        own = [entry for entry in self._settings.workloads if entry["name"] == name]
        if any(entry.get("replicas") is not None for entry in own):
            return True
        return bool(
            definition["kind"] == "Deployment" and definition["spec"].get("replicas", 1) > 0
        )

    def _pulled(self, definition: Object) -> Object:
        secrets = [{"name": name} for name in self._settings.image_pull_secrets]
        if not secrets:
            return definition
        if definition["kind"] in _POD_OWNERS:
            pod = {"imagePullSecrets": secrets}
            return _merged(definition, {"spec": {"template": {"spec": pod}}})
        if definition["kind"] == "Image":
            return _merged(definition, {"spec": {"imagePullSecrets": secrets}})
        if definition["kind"] == "ServiceAccount":  # of pods that controllers start, too
            return _merged(definition, {"imagePullSecrets": secrets})
        return definition


def _merged(definition: Object, change: Object) -> Object:
    result: Object = merge(definition, change)
    return result


def _about(name: str, entries: Iterable[Object]) -> list[Object]:
    """Return the entries about an object: those about all come first, so that its own count."""
    listed = list(entries)
    return [entry for key in (ALL, name) for entry in listed if entry["name"] == key]


def missing(client: Client, settings: Settings, objects: Iterable[Object]) -> list[str]:
    """Return which objects that the settings name are neither in the cluster nor among `objects`.

    Pods that use them would wait for them for ever.
    """
    made = {
        (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"])
        for item in objects
    }
    needed = []
    if settings.custom_certs:
        certs = settings.custom_certs
        needed.append(("custom_certs", certs["type"], "knative-serving", certs["name"]))
    spaces = sorted({namespace for kind, namespace, _name in made if kind in WORKLOADS})
    needed += [
        ("image_pull_secrets", "Secret", space, name)
        for name in settings.image_pull_secrets
        for space in spaces
    ]
    return [
        f"{option}: there is no {kind} {name} in namespace {namespace}: create it first, or have"
        " additional_manifests bring it"
        for option, kind, namespace, name in needed
        if (kind, namespace, name) not in made
        and look_up(client, "v1", kind, name, namespace) is None
    ]


# -- workloads -------------------------------------------------------------------------------


def _pod(workload: Object) -> Object:
    pod: Object = workload["spec"]["template"]["spec"]
    return pod


def _with_entry(workload: Object, entry: Object) -> Object:
    metadata = _metadata(entry)
    pod: Object = {key: entry[key] for key in _POD_FIELDS if entry.get(key)}
    if entry.get("nodeSelector"):
        pod["nodeSelector"] = entry["nodeSelector"]
    if entry.get("topologySpreadConstraints"):
        selector = workload["spec"]["selector"]
        pod["topologySpreadConstraints"] = [
            {"labelSelector": selector, **constraint}
            for constraint in entry["topologySpreadConstraints"]
        ]
    if entry.get("hostNetwork"):
        pod |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    # Affinity is one value: what is left of upstream's would be met as well.
    cleared = {"affinity": None} if "affinity" in pod else {}
    changed: Object = merge(workload, {"spec": {"template": {"spec": cleared}}})
    changed = merge(changed, {**metadata, "spec": {"template": {**metadata, "spec": pod}}})
    for item in entry.get("resources") or []:
        limits = {key: item[key] for key in ("requests", "limits") if item.get(key)}
        change = partial(merge, change={"resources": limits})
        changed = _with_containers(changed, item.get("container"), change)
    for item in entry.get("env") or []:
        change = partial(_with_env, variables=item["variables"])
        changed = _with_containers(changed, item.get("container"), change)
    for key, probe in _PROBES.items():
        for item in entry.get(key) or []:
            fields = {k: v for k, v in item.items() if k != "container" and v is not None}
            change = partial(_with_probe, probe=probe, fields=fields)
            changed = _with_containers(changed, item.get("container"), change)
    return changed


def _with_containers(
    workload: Object, name: str | None, change: Callable[[Object], Object]
) -> Object:
    """Return a workload with one container changed, or with all when there is no name."""
    changed = copy.copy(workload)
    pod = _pod(workload)
    containers = [
        change(container) if name in (None, "", container["name"]) else container
        for container in pod["containers"]
    ]
    template = {**workload["spec"]["template"], "spec": {**pod, "containers": containers}}
    changed["spec"] = {**workload["spec"], "template": template}
    return changed


def _with_env(container: Object, variables: list[Object]) -> Object:
    """Set variables in place of upstream's of the same names, whichever way these get their values."""
    named = {entry["name"]: entry for entry in container.get("env") or []}
    return {**container, "env": list({**named, **{v["name"]: v for v in variables}}.values())}


def _with_probe(container: Object, probe: str, fields: Object) -> Object:
    if probe not in container:
        return container
    return {**container, probe: {**container[probe], **fields}}


def _with_certificates(workload: Object, certs: Object) -> Object:
    """Mount CA certificates where Go's programs look for more of them."""
    name = f"custom-certs-{certs['name']}"
    source = (
        {"configMap": {"name": certs["name"]}}
        if certs["type"] == "ConfigMap"
        else {"secret": {"secretName": certs["name"]}}
    )
    volumes = [*(_pod(workload).get("volumes") or []), {"name": name, **source}]
    mount = {"name": name, "mountPath": _CERTIFICATES}
    directory = {"name": "SSL_CERT_DIR", "value": _CERTIFICATES}

    def mounted(container: Object) -> Object:
        mounts = [*(container.get("volumeMounts") or []), mount]
        return _with_env({**container, "volumeMounts": mounts}, [directory])

    changed = _with_containers(workload, "controller", mounted)
    return _merged(changed, {"spec": {"template": {"spec": {"volumes": volumes}}}})


# -- other objects ---------------------------------------------------------------------------


def _metadata(entry: Mapping[str, Any]) -> Object:
    found = {key: entry[key] for key in ("labels", "annotations") if entry.get(key)}
    return {"metadata": found} if found else {}


def _invalid_budgets(entries: list[Object]) -> Iterator[str]:
    for number, entry in enumerate(entries):
        given = [key for key in LIMITS if entry.get(key)]
        if len(given) != 1:
            yield (
                f"pod_disruption_budgets[{number}]: give either minAvailable or maxUnavailable of"
                f" {entry['name']}"
            )
        for key in given:
            if not re.fullmatch(r"\d+%?", str(entry[key])):
                yield (
                    f"pod_disruption_budgets[{number}].{key}: '{entry[key]}' is not valid: write a number"
                    " of pods, or a percentage such as 80%"
                )


def _evictable(key: str, limit: int | str, pods: int) -> int:
    """Return how many of so many pods a budget lets be evicted; it rounds percentages up."""
    number = limit if isinstance(limit, int) else math.ceil(pods * int(limit.rstrip("%")) / 100)
    return number if key == "maxUnavailable" else pods - number


def _broker_defaults(data: Mapping[str, str], name: str) -> Object:
    """Return the defaults of brokers with another class, and with the configuration it goes with."""
    key = "default-br-config"
    text = re.sub(r"(?m)^(\s*brokerClass:).*$", rf"\1 {name}", data[key], count=1)
    if config := _BROKER_CONFIG.get(name):
        text = re.sub(r"(?m)^(\s*name:).*$", rf"\1 {config}", text, count=1)
    return {key: text}
