"""Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs and CronJobs."""

from __future__ import annotations

import zoneinfo
from typing import TYPE_CHECKING

from streamops_sandbox import label_selectors
from streamops_sandbox.cron import Schedule
from streamops_sandbox.kube import names
from streamops_sandbox.kube.kinds import pod_specs
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import filler, function
from streamops_sandbox.kube.kinds.strategy import Strategy
from streamops_sandbox.objects import Object

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

_UID_LABELS = ("batch.kubernetes.io/controller-uid", "controller-uid")
_NAME_LABELS = ("batch.kubernetes.io/job-name", "job-name")
_SECCOMP = "seccomp.security.alpha.kubernetes.io/pod"
_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
_HOST_NAME = (
    "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
    "a DNS label is recommended: "
)


class Workload(Strategy):
    """A kind with a pod template, whose labels the selector has to match for good."""

    def warnings(self, obj: Object) -> list[str]:
        """Return the template's warnings."""
        name = obj["metadata"].get("name", "")
        problems = names.dns_label(name) if name else []
        first = [f"{_HOST_NAME}[{', '.join(problems)}]"] if problems else []
        return first + pod_specs.warnings(obj["spec"]["template"]["spec"], "spec.template.spec")


@function
def template_selector(spec: Object, field: str, found: Causes, _: Object) -> None:
    """Check that the selector is there and matches the template's labels."""
    selector = spec.get("selector")
    if selector is None:
        found.required(f"{field}.selector")
    else:
        before = len(found)
        found.selector(f"{field}.selector", selector)
        if len(found) == before and not selector:
            why = "empty selector is invalid for deployment"
            found.invalid(f"{field}.selector", selector, why)
        if len(found) > before:
            if selector:
                found.invalid(f"{field}.selector", selector, "invalid label selector")
            return
    labels = (spec["template"].get("metadata") or {}).get("labels")
    # Without a selector nothing matches, as with labels.Nothing().
    if not label_selectors.matches(selector, labels):
        why = "`selector` does not match template `labels`"
        found.invalid(f"{field}.template.metadata.labels", labels or None, why)


@function
def seccomp_annotation(template: Object, field: str, found: Causes, _: Object) -> None:
    """Check the annotation that seccomp profiles once were, of a pod or a template of pods."""
    profile = ((template.get("metadata") or {}).get("annotations") or {}).get(_SECCOMP)
    known = ("runtime/default", "docker/default", "unconfined")
    if profile and profile not in known and not profile.startswith("localhost/"):
        place = f"{field or 'metadata'}.annotations.{_SECCOMP}"
        found.invalid(place, profile, "must be a valid seccomp profile")


class DaemonSets(Workload):
    """A pod on every node."""

    def prepare_create(self, obj: Object, api: Api) -> None:
        """Start with an empty status, at the template's first generation."""
        super().prepare_create(obj, api)
        obj["metadata"].setdefault("annotations", {})[_TEMPLATE_GENERATION] = "1"

    def prepare_update(self, obj: Object, old: Object, api: Api) -> None:
        """Count the template's changes."""
        count = (old["metadata"].get("annotations") or {}).get(_TEMPLATE_GENERATION, "1")
        if obj["spec"]["template"] != old["spec"]["template"] and count.isdigit():
            count = str(int(count) + 1)
        obj["metadata"].setdefault("annotations", {})[_TEMPLATE_GENERATION] = count


@filler
def complete_job(job: Object) -> None:
    """Fill in what of a Job follows from other fields; without labels it has its template's."""
    spec = job["spec"]
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    per_index = spec.get("backoffLimitPerIndex") is not None
    spec.setdefault("backoffLimit", 2**31 - 1 if per_index else 6)
    replacement = "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
    spec.setdefault("podReplacementPolicy", replacement)
    labels = spec["template"]["metadata"].get("labels")
    if labels and not job["metadata"].get("labels"):
        job["metadata"]["labels"] = dict(labels)


@function
def generated_selector(selector: Object | None, field: str, found: Causes, job: Object) -> None:
    """Check that a Job has no more than the selector that was made for it, unless it says to have its own."""
    made = {_UID_LABELS[0]: job["metadata"].get("uid")}
    extended = made.items() < ((selector or {}).get("matchLabels") or {}).items()
    if extended and not job["spec"].get("manualSelector"):
        found.invalid(field, selector, "`selector` not auto-generated")


class Jobs(Workload):
    """Pods that run to completion; each Job selects its own by its uid."""

    def prepare_create(self, obj: Object, api: Api) -> None:
        """Make selector and labels from the uid, unless the user has their own."""
        super().prepare_create(obj, api)
        spec, metadata = obj["spec"], obj["metadata"]
        if spec.get("manualSelector"):
            return
        labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
        labels |= dict.fromkeys(_UID_LABELS, metadata["uid"])
        labels |= dict.fromkeys(_NAME_LABELS, metadata["name"])
        selector = spec.setdefault("selector", {}).setdefault("matchLabels", {})
        selector[_UID_LABELS[0]] = metadata["uid"]
        self.default(obj)

    def validate_update(self, obj: Object, old: Object, found: Causes) -> None:
        """Refuse changes of what runs; the Job's own rules are reported twice."""
        spec, before = obj["spec"], old["spec"]
        self.validate(obj, found)
        if spec.get("completionMode") != "Indexed":
            found.immutable(spec, before, "spec", "completions")
        found.immutable(spec, before, "spec", "selector")
        suspended = before.get("suspend") and not (old.get("status") or {}).get("startTime")
        kept, was = (
            {
                **one["template"],
                "metadata": None,
                "spec": _scheduling(one["template"]["spec"], suspended),
            }
            for one in (spec, before)
        )
        if kept != was:
            found.invalid("spec.template.spec", spec["template"]["spec"], "field is immutable")
        found.immutable(spec, before, "spec", "completionMode")


def _scheduling(spec: Object, changeable: object) -> Object:
    """Return a pod spec without what may change while its Job has not started."""
    kept = {key: value for key, value in spec.items() if value not in ([], {}, "", None)}
    if changeable:
        for key in ("nodeSelector", "affinity", "tolerations", "schedulingGates"):
            kept.pop(key, None)
    return kept


@function
def schedule(text: str | None, field: str, found: Causes, _: Object) -> None:
    """Check a cron schedule."""
    try:
        Schedule.parse(text or "")
    except ValueError as error:
        found.invalid(field, text, str(error))


@function
def time_zone(zone: str | None, field: str, found: Causes, _: Object) -> None:
    """Check a time zone's name."""
    try:
        zoneinfo.ZoneInfo(zone or "UTC")
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        found.invalid(field, zone, f"unknown time zone {zone}")


@filler
def complete_controller(controller: Object) -> None:
    """Fill in a ReplicationController's selector and labels, which are its template's."""
    labels = (controller["spec"]["template"].get("metadata") or {}).get("labels") or {}
    if labels:
        controller["spec"].setdefault("selector", dict(labels))
        controller["metadata"].setdefault("labels", dict(labels))
