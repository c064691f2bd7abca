"""Waits for many objects at once, and explains what keeps the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from .apply import Applier, Item, Key, served_kinds
from .client import Client, permitted
from .errors import KubeError
from .readiness import (
    READY,
    Condition,
    Verdict,
    expects_status,
    has_conditions,
    is_finished,
    services,
    verdict,
)

Object = dict[str, Any]
POLL_FIRST, POLL_MOST = 0.1, 1.0  # seconds between two looks
LAST_WORDS = 300  # characters of a container that are shown
NAMED = 3  # objects named in a progress line
#: Reasons of the events of Jobs that failed.
JOB_FAILURES = ("BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy", "FailedIndexes")
WEBHOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


class NotReady(KubeError):
    """Something failed for good or is not ready in time; `pending` maps titles to what is missing."""

    def __init__(self, message: str, pending: dict[str, str]) -> None:
        super().__init__(message, pending=pending)


class Waiter:
    """Looks at all pending objects together: one LIST per kind and namespace each time."""

    def __init__(
        self,
        client: Client,
        applier: Applier,
        conditions: list[Condition],
        progress: Callable[[str], None],
    ) -> None:
        self._client = client
        self._applier = applier
        self._conditions = conditions
        self._progress = progress
        self._crds: dict[str, Object | None] = {}

    def wait(self, items: list[Item], timeout: float) -> None:
        """Return when all are ready; raise NotReady after `timeout` seconds or a final failure."""
        with self._client.transport.retries.until(time.monotonic() + timeout):
            self._wait(items, timeout)

    def _wait(self, items: list[Item], timeout: float) -> None:
        started = time.monotonic()
        live: dict[Key, Object | None] = {item.key: item.after for item in items}
        pending = self._look_and_judge(items, live)
        pause = POLL_FIRST
        while pending:
            final = {item.title: v.missing for item, v in pending if v.failed}
            waited = time.monotonic() - started
            if final or waited > timeout:
                raise self._not_ready(pending, len(items), timeout, final)
            self._progress(_line(pending, len(items)))
            time.sleep(pause)
            pause = min(pause * 1.4, POLL_MOST)
            pending = self._look_and_judge([item for item, _verdict in pending])

    def explain(self, items: list[Item]) -> str:
        """Return what is not ready at this moment, one line each, and why."""
        pending = self._judge(items, self._look(items))
        return "\n".join(f"- {title}: {text}" for title, text in self._told(pending).items())

    def _look_and_judge(
        self, items: list[Item], live: dict[Key, Object | None] | None = None
    ) -> list[tuple[Item, Verdict]]:
        """Return what is not ready; an API server that is away leaves all of it pending."""
        try:
            return self._judge(items, self._look(items) if live is None else live)
        except KubeError as error:
            if not error.is_transient:
                raise
            away = Verdict(f"the API server does not answer ({error})")
            return [(item, away) for item in items]

    # -- looking ---------------------------------------------------------------------------

    def _look(self, items: list[Item]) -> dict[Key, Object | None]:
        found: dict[Key, Object | None] = {}
        for item, live in zip(items, self._applier.live(items), strict=True):
            found[item.key] = live
            item.after = live or item.after
        return found

    def _judge(
        self, items: list[Item], live: dict[Key, Object | None]
    ) -> list[tuple[Item, Verdict]]:
        verdicts = [(item, self._verdict(item, live.get(item.key))) for item in items]
        webhooks = [item for item, v in verdicts if v == READY and item.resource.kind in WEBHOOKS]
        definitions = [
            item
            for item, v in verdicts
            if v == READY and item.resource.kind == "CustomResourceDefinition"
        ]
        held = {
            key: Verdict(f"no ready endpoint behind Service {service}")
            for key, service in self._unserved(webhooks).items()
        } | {
            key: Verdict("the API server does not list its kind yet")
            for key in self._undiscovered(definitions)
        }
        return [
            (item, held.get(item.key, v)) for item, v in verdicts if v != READY or item.key in held
        ]

    def _verdict(self, item: Item, obj: Object | None) -> Verdict:
        if obj is None:
            return self._deleted(item)
        wanted = next((c for c in self._conditions if c.applies_to(obj)), None)
        found = verdict(obj, wanted)
        silent = found == READY and wanted is None and not has_conditions(obj)
        if silent and self._expects_status(item):
            return Verdict("its controller has not reported on it yet")
        return found

    def _deleted(self, item: Item) -> Verdict:
        """Judge an object that is gone: some delete themselves when they are finished."""
        last = item.after or item.definition
        if is_finished(last):
            return READY
        spec = item.definition.get("spec") or {}
        if item.resource.kind == "Job" and spec.get("ttlSecondsAfterFinished") is not None:
            reason, message = self._last_event(item.resource.kind, item.name, item.namespace)
            if reason in JOB_FAILURES:
                return Verdict(f"failed ({reason}: {message})", failed=True)
            return READY
        return Verdict("the object was deleted while waiting")

    def _expects_status(self, item: Item) -> bool:
        name = f"{item.resource.plural}.{item.resource.group}"
        if "." not in item.resource.group or item.resource.group.endswith(".k8s.io"):
            return False
        if name not in self._crds:
            kind = self._client.resource("apiextensions.k8s.io/v1", "CustomResourceDefinition")
            # Where it may not be read, existing has to do.
            self._crds[name] = permitted(lambda: self._client.get(kind, name), None)
        crd = self._crds[name]
        return crd is not None and expects_status(crd, item.resource.api_version)

    def _undiscovered(self, definitions: list[Item]) -> set[Key]:
        """Return the definitions whose kinds discovery lacks: it follows an Established definition."""

        def missing() -> set[Key]:
            known = self._client.resources()
            return {
                item.key
                for item in definitions
                if any(kind not in known for kind in served_kinds(item.definition))
            }

        if not missing():
            return set()
        self._client.forget()
        return missing()

    def _unserved(self, webhooks: list[Item]) -> dict[Key, str]:
        """Return the webhook configurations whose Service has no endpoints, with that Service."""
        called = {item.key: set(services(item.after or {})) for item in webhooks}
        namespaces = sorted(
            {namespace for pairs in called.values() for namespace, _service in pairs}
        )
        if not namespaces:
            return {}
        slices = self._client.resource("discovery.k8s.io/v1", "EndpointSlice")
        listed = self._applier.parallel(lambda ns: self._client.list(slices, ns), namespaces)
        served = {
            (namespace, (entry["metadata"].get("labels") or {}).get("kubernetes.io/service-name"))
            for namespace, entries in zip(namespaces, listed, strict=True)
            for entry in entries
            # Absent means ready (discovery/v1 EndpointConditions).
            if any(
                (endpoint.get("conditions") or {}).get("ready") is not False
                for endpoint in entry.get("endpoints") or []
            )
        }
        return {
            key: "/".join(sorted(pairs - served)[0])
            for key, pairs in called.items()
            if pairs - served
        }

    # -- explaining ------------------------------------------------------------------------

    def _not_ready(
        self,
        pending: list[tuple[Item, Verdict]],
        total: int,
        timeout: float,
        final: dict[str, str],
    ) -> NotReady:
        told = self._told([(i, v) for i, v in pending if not final or i.title in final])
        headline = (
            "Failed for good"
            if final
            else f"{len(told)} of {total} objects are not ready after {timeout:g} s (wait_timeout)"
        )
        lines = "\n".join(f"- {title}: {text}" for title, text in told.items())
        return NotReady(f"{headline}:\n{lines}", told)

    def _told(self, pending: list[tuple[Item, Verdict]]) -> dict[str, str]:
        whys = self._applier.parallel(lambda pair: self._why(pair[0]), pending)
        return {
            item.title: v.missing + (f"; {why}" if why else "") + way_back(item)
            for (item, v), why in zip(pending, whys, strict=True)
        }

    def _why(self, item: Item) -> str:
        """Return the trouble of its pods, else its last event; empty when the server reports nothing."""
        try:
            trouble = self._pod_trouble(item)
            return trouble or self._event_text(item.resource.kind, item.name, item.namespace)
        except KubeError:
            return ""  # a reader without rights to pods or events still gets the rest

    def _pod_trouble(self, item: Item) -> str:
        spec = (item.after or {}).get("spec") or {}
        labels = (spec.get("selector") or {}).get("matchLabels") if isinstance(spec, dict) else None
        if item.resource.kind == "Job":
            labels = {"batch.kubernetes.io/job-name": item.name}
        if item.resource.group not in ("apps", "batch") or not labels:
            return ""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        pods = self._client.list(
            self._client.resource("v1", "Pod"), item.namespace, label_selector=selector
        )
        for pod in pods:
            trouble = pod_trouble(pod)
            if trouble:
                return f"pod {pod['metadata']['name']}: {trouble}"
        for pod in pods:
            event = self._event_text("Pod", pod["metadata"]["name"], item.namespace)
            if event and not _all_ready(pod):
                return f"pod {pod['metadata']['name']}: {event}"
        return "" if pods else "it has no pods"

    def _event_text(self, kind: str, name: str, namespace: str | None) -> str:
        reason, message = self._last_event(kind, name, namespace)
        return f"last event {reason}: {message}" if reason else ""

    def _last_event(self, kind: str, name: str, namespace: str | None) -> tuple[str, str]:
        """Return reason and message of the newest event about an object, empty without one."""
        events = self._client.list(
            self._client.resource("v1", "Event"),
            namespace,
            field_selector=f"involvedObject.name={name},involvedObject.kind={kind}",
        )
        if not events:
            return "", ""
        last = max(events, key=_event_time)
        return str(last.get("reason")), str(last.get("message"))


def way_back(item: Item) -> str:
    """Return what still runs of an object whose rollout fails, and how to go back to it."""
    status = (item.after or {}).get("status") or {}
    if (item.resource.group, item.resource.kind) == ("apps", "Deployment"):
        if item.before and status.get("availableReplicas", 0) > 0:
            return (
                f"; what ran before goes on. To go back: kubectl -n {item.namespace} rollout undo"
                f" deployment/{item.name}"
            )
    elif item.resource.group == "serving.knative.dev" and item.resource.kind == "Service":
        ready = status.get("latestReadyRevisionName")
        if ready and ready != status.get("latestCreatedRevisionName"):
            return f"; revision {ready} goes on serving"
    return ""


def pod_trouble(pod: Object) -> str:
    """Return why a pod does not run: its scheduling, or its first container in trouble."""
    status = pod.get("status") or {}
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{condition.get('reason')}: {condition.get('message')}"
    containers = (status.get("initContainerStatuses") or []) + (
        status.get("containerStatuses") or []
    )
    for container in containers:
        waiting = (container.get("state") or {}).get("waiting") or {}
        last = (container.get("lastState") or {}).get("terminated") or {}
        if waiting.get("reason") in (None, "ContainerCreating", "PodInitializing") and not last:
            continue
        words = [word for word in (waiting.get("reason"), waiting.get("message")) if word]
        if last:
            words.append(f"last exit code {last.get('exitCode')} ({last.get('reason')})")
            if last.get("message"):
                words.append(" ".join(last["message"].split())[-LAST_WORDS:])
        return f"container {container['name']}: {': '.join(words)}"
    return ""


def _all_ready(pod: Object) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return bool(statuses) and all(status.get("ready") for status in statuses)


def _event_time(event: Object) -> str:
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )


def _line(pending: Iterable[tuple[Item, Verdict]], total: int) -> str:
    entries = list(pending)
    named = ", ".join(f"{item.title}: {v.missing}" for item, v in entries[:NAMED])
    more = f", and {len(entries) - NAMED} more" if len(entries) > NAMED else ""
    return f"{total - len(entries)} of {total} ready; waiting for {named}{more}"
