"""SinkBindings: apply one, and wait until what it binds really carries the sink.

Contract: `sources.knative.dev/v1` SinkBinding of Knative Eventing 1.21 and later. A binding can be
Ready although nothing is bound (a selector that matches nothing), and a subject that rolls out before
the webhook knows its kind starts without K_SINK; so this looks at the webhook's rules and at pod templates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .._kubernetes.client import Client, Object, Resource, UnknownKind, look_up
from .._kubernetes.errors import ApiError, KubeError, accounting
from .._kubernetes.polling import poll
from .extensions import as_strings
from .extensions import problems as extension_problems

API_VERSION = "sources.knative.dev/v1"
WEBHOOK = "sinkbindings.webhook.sources.knative.dev"
EVENTING = "knative-eventing"
INCLUDE = "bindings.knative.dev/include"
EXCLUDE = "bindings.knative.dev/exclude"
FIELD_MANAGER = "streamops.knative"
POLL_SECONDS = 0.1


class BindingError(KubeError):
    """The binding cannot work, or did not in time; the text says what to do."""


@dataclass(frozen=True)
class Subjects:
    """What a binding binds: one object by name, or all that match labels."""

    api_version: str
    kind: str
    name: str | None
    match_labels: dict[str, str]

    @classmethod
    def of(cls, subject: Mapping[str, Any]) -> Subjects:
        """Return what the `subject` of a SinkBinding's spec selects."""
        labels = (subject.get("selector") or {}).get("matchLabels") or {}
        return cls(subject["apiVersion"], subject["kind"], subject.get("name"), labels)

    def __str__(self) -> str:
        if self.name:
            return f"{self.kind} {self.name}"
        labels = ",".join(f"{key}={value}" for key, value in self.match_labels.items())
        return f"{self.kind} with the labels {labels}"

    def find(self, client: Client, namespace: str) -> list[Object]:
        """Return the subjects that exist now."""
        resource = client.resource(self.api_version, self.kind)
        if self.name:
            found = client.get(resource, self.name, namespace)
            return [found] if found else []
        selector = ",".join(f"{key}={value}" for key, value in self.match_labels.items())
        return client.list(resource, namespace, label_selector=selector)


def definition(
    name: str,
    namespace: str,
    subject: Mapping[str, Any],
    sink: Mapping[str, Any],
    extensions: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Object:
    """Return the SinkBinding as it is applied. Raises BindingError for invalid extensions."""
    if refused := extension_problems(extensions or {}):
        raise BindingError("; ".join(f"extensions.{problem}" for problem in refused))
    spec: dict[str, Any] = {"subject": dict(subject), "sink": dict(sink)}
    if extensions:
        spec["ceOverrides"] = {"extensions": as_strings(extensions)}
    metadata = {"name": name, "namespace": namespace, "labels": dict(labels or {})}
    return {"apiVersion": API_VERSION, "kind": "SinkBinding", "metadata": metadata, "spec": spec}


def binding_resource(client: Client) -> Resource:
    """Return the kind SinkBinding; raise BindingError where Knative Eventing is not installed."""
    try:
        return client.resource(API_VERSION, "SinkBinding")
    except UnknownKind as error:
        raise BindingError(
            f"the cluster has no {API_VERSION} SinkBinding: install Knative Eventing 1.21 or newer"
            " first (ansible-playbook playbooks/eventing.yml)"
        ) from error


def check_sink(client: Client, sink: Mapping[str, Any], namespace: str) -> None:
    """Raise BindingError when the sink is a reference to nothing."""
    reference = sink.get("ref")
    if not reference:
        return
    where = reference.get("namespace") or namespace
    text = f"{reference['kind']} {reference['name']} in namespace {where}"
    try:
        resource = client.resource(reference["apiVersion"], reference["kind"])
    except UnknownKind as error:
        raise BindingError(f"sink.ref: {error}") from error
    if client.get(resource, reference["name"], where) is None:
        raise BindingError(
            f"sink.ref: there is no {text}. Create it first, or correct the reference."
        )


def excluded(client: Client, subjects: Subjects, namespace: str) -> str | None:
    """Return why the webhook leaves the subjects alone, or None.

    The namespace's and the objects' include and exclude labels decide, by the
    SINK_BINDING_SELECTION_MODE of the eventing-webhook ("exclusion" by default).
    """
    mode = _selection_mode(client)
    space = client.get(client.resource("v1", "Namespace"), namespace) or {}
    for what, item in [
        (f"namespace {namespace}", space),
        *(
            (f"{subjects.kind} {o['metadata']['name']}", o)
            for o in subjects.find(client, namespace)
        ),
    ]:
        labels = (item.get("metadata") or {}).get("labels") or {}
        if mode == "exclusion" and labels.get(EXCLUDE) == "true":
            return f"{what} has the label {EXCLUDE}=true, so the webhook leaves it alone; remove it"
        if mode == "inclusion" and item and labels.get(INCLUDE) == "false":
            return f"{what} has the label {INCLUDE}=false; the webhook binds only where it is true"
    return None


def _selection_mode(client: Client) -> str:
    deployment = look_up(client, "apps/v1", "Deployment", "eventing-webhook", EVENTING)
    for container in _containers(deployment or {}):
        for variable in container.get("env") or []:
            if variable["name"] == "SINK_BINDING_SELECTION_MODE":
                return str(variable.get("value") or "exclusion")
    return "exclusion"


def _containers(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    spec = item.get("spec") or {}
    if "jobTemplate" in spec:
        spec = spec["jobTemplate"]["spec"]
    pod = (spec.get("template") or {}).get("spec") or {}
    return [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]


def bound_sink(item: Mapping[str, Any]) -> str | None:
    """Return K_SINK of an object's pod template when every container has the same one, else None."""
    values = {
        next((e.get("value") for e in c.get("env") or [] if e["name"] == "K_SINK"), None)
        for c in _containers(item)
    }
    return values.pop() if len(values) == 1 else None


def webhook_knows(client: Client, subjects: Subjects) -> bool:
    """Return whether the binding's webhook is called for the subjects' kind; True where that may not be read."""
    group = "admissionregistration.k8s.io/v1"
    configuration = look_up(client, group, "MutatingWebhookConfiguration", WEBHOOK)
    if configuration == {}:  # it may not be read
        return True
    kind = client.resource(subjects.api_version, subjects.kind)
    for webhook in (configuration or {}).get("webhooks") or []:
        for rule in webhook.get("rules") or []:
            plurals = {name.partition("/")[0] for name in rule.get("resources") or []}
            if kind.group in rule.get("apiGroups", []) and plurals & {kind.plural, "*"}:
                return True
    return False


class Waiter:
    """Wait for a binding to take effect, with a diagnosis of what is missing."""

    def __init__(
        self, client: Client, name: str, namespace: str, progress: Callable[[str], None]
    ) -> None:
        self._client = client
        self._name = name
        self._namespace = namespace
        self._progress = progress
        self.sink_uri = ""
        self.bound: list[str] = []

    def wait(self, *, timeout: float, for_subjects: bool) -> None:
        """Return once the webhook covers the subjects' kind or, `for_subjects`, they carry the sink.

        Raises BindingError naming what is missing after `timeout` seconds.
        """
        missing = poll(
            self._client,
            lambda: self._missing(for_subjects),
            deadline=time.monotonic() + timeout,
            pause=POLL_SECONDS,
            progress=self._progress,
        )
        if missing:
            raise BindingError(
                f"SinkBinding {self._namespace}/{self._name} is not effective after"
                f" {timeout:g} s: {missing}"
            )

    def _missing(self, for_subjects: bool) -> str:
        binding = self._client.get(binding_resource(self._client), self._name, self._namespace)
        if binding is None:
            return "there is no such SinkBinding"
        status = binding.get("status") or {}
        self.sink_uri = status.get("sinkUri", "")
        subjects = Subjects.of(binding["spec"]["subject"])
        if not webhook_knows(self._client, subjects):
            return f"the webhook {WEBHOOK} has no rule for {subjects.kind} yet"
        # Knative resolves the subject before the sink: before there is a subject, the sink's condition
        # stays Unknown and nothing more can be said.
        return self._unbound(subjects, binding) if for_subjects else ""

    def _unbound(self, subjects: Subjects, binding: Object) -> str:
        status = binding.get("status") or {}
        conditions = {c["type"]: c for c in status.get("conditions") or []}
        provided = conditions.get("SinkProvided", {})
        if provided.get("status") == "False":
            return f"its sink does not resolve to an address: {_reason(provided)}"
        found = subjects.find(self._client, self._namespace)
        if not found:
            return f"there is no {subjects} in namespace {self._namespace}"
        reason = excluded(self._client, subjects, self._namespace)
        if reason:
            return reason
        # observedGeneration is set only once the binding was reconciled without an error.
        if status.get("observedGeneration") != binding["metadata"]["generation"]:
            return _not_reconciled(conditions)
        if provided.get("status") != "True":
            return f"its sink is not resolved yet: {_reason(provided)}"
        # A finished Job is never changed; its pod template shows what it ran with.
        without = [o["metadata"]["name"] for o in found if bound_sink(o) != self.sink_uri]
        self.bound = [o["metadata"]["name"] for o in found]
        if without:
            return f"K_SINK is not {self.sink_uri} in the pod template of {', '.join(without)}"
        return ""


def _reason(condition: Mapping[str, Any]) -> str:
    return str(condition.get("message") or condition.get("reason") or "no reason given")


def _not_reconciled(conditions: Mapping[str, Mapping[str, Any]]) -> str:
    """Return why a binding's generation is not observed: the condition that failed, or the controller's log."""
    for name in ("SinkBindingAvailable", "SinkProvided", "Ready"):
        condition = conditions.get(name, {})
        if condition.get("status") == "False":
            return f"{name} is False: {_reason(condition)}"
    return f"it has not been reconciled yet; see kubectl -n {EVENTING} logs deployment/eventing-webhook"


def write(client: Client, wanted: Object, *, dry_run: bool) -> dict[str, Any]:
    """Apply the binding; `changed` and `diff` compare what the server had and has.

    On a dry run what the binding needs (Knative, the namespace) may be missing, since the same
    run would have brought it: then the binding counts as created.
    """
    meta = wanted["metadata"]
    try:
        resource = binding_resource(client)
        before = client.get(resource, meta["name"], meta["namespace"])
        with accounting(dry_run=dry_run):
            after = client.apply(
                resource, wanted, field_manager=FIELD_MANAGER, force=True, dry_run=dry_run
            )
    except (BindingError, ApiError) as error:
        absent = isinstance(error, BindingError) or error.not_found
        if not (dry_run and absent):
            raise
        before, after = None, wanted
    old, new = _comparable(before), _comparable(after)
    return {"changed": old != new, "diff": {"before": old, "after": new}}


def _comparable(item: Object | None) -> dict[str, Any]:
    """Return what a person wrote of an object, without what the server keeps for itself."""
    if item is None:
        return {}
    meta = {k: v for k, v in item["metadata"].items() if k in ("name", "namespace", "labels")}
    return {"metadata": meta, "spec": item["spec"]}


def delete(
    client: Client,
    name: str,
    namespace: str,
    *,
    timeout: float,
    dry_run: bool,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Delete the binding and wait until its finalizer has taken K_SINK out of the subjects."""
    try:
        resource = binding_resource(client)
    except BindingError:
        return {"changed": False, "diff": {"before": {}, "after": {}}}
    before = client.get(resource, name, namespace)
    if before is not None and not dry_run:
        with accounting():
            client.delete(resource, name, namespace)
        waits = (
            "its finalizer is removed by Knative's eventing-webhook, which seems not to run; see kubectl"
            f" -n {EVENTING} get pods"
        )
        with accounting(changed=True):
            missing = poll(
                client,
                lambda: "" if client.get(resource, name, namespace) is None else waits,
                deadline=time.monotonic() + timeout,
                pause=POLL_SECONDS,
                progress=progress,
            )
            if missing:
                raise BindingError(
                    f"SinkBinding {namespace}/{name} is still being deleted after {timeout:g} s: {missing}"
                )
    return {"changed": before is not None, "diff": {"before": _comparable(before), "after": {}}}
