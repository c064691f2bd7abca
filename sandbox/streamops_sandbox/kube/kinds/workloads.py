"""Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs and CronJobs."""

from __future__ import annotations

import re
import zoneinfo
from typing import TYPE_CHECKING, Any

from streamops_sandbox.cron import Schedule
from streamops_sandbox.kube import errors, names, selectors
from streamops_sandbox.kube.kinds import pod_specs
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import filler, function
from streamops_sandbox.kube.kinds.strategy import Strategy
from streamops_sandbox.objects import Object

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

_UID_LABELS = ("batch.kubernetes.io/controller-uid", "controller-uid")
_NAME_LABELS = ("batch.kubernetes.io/job-name", "job-name")
_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
_STATEFUL_FIXED = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
    "'minReadySeconds' are forbidden"
)
_HOST_NAME = (
    "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
    "a DNS label is recommended: "
)
_PERCENT_RULE = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  "
    "or '93%', regex used for validation is '[0-9]+%')"
)


class Workload(Strategy):
    """A kind with a pod template, whose labels the selector has to match for good."""

    def warnings(self, obj: Object) -> list[str]:
        """Return the template's warnings."""
        template, name = obj["spec"]["template"], obj["metadata"].get("name", "")
        problems = names.dns_label(name) if name else []
        first = [f"{_HOST_NAME}[{', '.join(problems)}]"] if problems else []
        return first + pod_specs.warnings(
            template["spec"], "spec.template.spec", template.get("metadata") or {}
        )


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
    if selector is None or not selectors.from_object(selector).matches(labels or {}):
        why = "`selector` does not match template `labels`"
        found.invalid(f"{field}.template.metadata.labels", labels or None, why)


@function
def pod_template(template: Object, field: str, found: Causes, _: Object) -> None:
    """Check a template's pod spec."""
    metadata = template.get("metadata") or {}
    pod_specs.validate(template["spec"], f"{field}.spec", found, metadata, f"{field}.")


@function
def long_running_template(template: Object, field: str, found: Causes, root: Object) -> None:
    """Check the template of pods that are always restarted."""
    found.labels(f"{field}.labels", (template.get("metadata") or {}).get("labels"))
    pod_template(template, field, found, root)
    policy = template["spec"].get("restartPolicy")
    if policy in ("OnFailure", "Never"):
        found.unsupported(f"{field}.spec.restartPolicy", policy, ("Always",))
    if template["spec"].get("activeDeadlineSeconds") is not None:
        kind = root["kind"] if root["kind"] in ("StatefulSet", "DaemonSet") else "ReplicaSet"
        why = f"activeDeadlineSeconds in {kind} is not Supported"
        found.forbidden(f"{field}.spec.activeDeadlineSeconds", why)
    if template["spec"].get("ephemeralContainers"):
        why = "ephemeral containers not allowed in pod template"
        found.forbidden(f"{field}.spec.ephemeralContainers", why)


@function
def rollout(strategy: Object, field: str, found: Causes, _: Object) -> None:
    """Check a Deployment's strategy."""
    _check_kind(strategy, field, found, ("Recreate", "RollingUpdate"))
    rolling, field = strategy.get("rollingUpdate"), f"{field}.rollingUpdate"
    if strategy["type"] == "Recreate" and rolling:
        found.forbidden(field, "may not be specified when strategy `type` is 'Recreate'")
    if strategy["type"] != "RollingUpdate":
        return
    rolling = rolling or {}
    for key in ("maxUnavailable", "maxSurge"):
        value = rolling.get(key, 0)
        if isinstance(value, str) and not re.fullmatch(r"\d+%", value):
            found.invalid(f"{field}.{key}", value, _PERCENT_RULE)
        found.not_negative(rolling, field, key)
    unavailable = rolling.get("maxUnavailable")
    if unavailable in (0, "0%") and rolling.get("maxSurge") in (0, "0%"):
        why = "may not be 0 when `maxSurge` is 0"
        found.invalid(f"{field}.maxUnavailable", unavailable, why)
    if isinstance(unavailable, str) and re.fullmatch(r"\d+%", unavailable):
        share(unavailable, f"{field}.maxUnavailable", found, {})


@function
def share(amount: int | str | None, field: str, found: Causes, _: Object) -> None:
    """Check a number of pods, or a part of them."""
    if not isinstance(amount, str):
        return
    if not re.fullmatch(r"\d+%", amount):
        found.invalid(field, amount, _PERCENT_RULE)
    elif int(amount[:-1]) > 100:
        found.invalid(field, amount, "must not be greater than 100%")


@function
def progress_deadline(seconds: int, field: str, found: Causes, deployment: Object) -> None:
    """Check that a rollout may take longer than a pod has to be ready for."""
    if seconds <= deployment["spec"].get("minReadySeconds", 0):
        found.invalid(field, seconds, "must be greater than minReadySeconds")


@function
def deployment_status(status: Object | None, field: str, found: Causes, _: Object) -> None:
    """Check that no kind of a Deployment's pods is more than all of them."""
    status = status or {}
    keys = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    total, *parts = (status.get(key, 0) for key in keys)
    for key, part in zip(keys[1:], parts, strict=True):
        if part > total:
            found.invalid(f"{field}.{key}", part, "cannot be greater than status.replicas")
    if parts[2] > parts[1]:
        why = "cannot be greater than readyReplicas"
        found.invalid(f"{field}.availableReplicas", parts[2], why)


@function
def pod_management(policy: str, field: str, found: Causes, _: Object) -> None:
    """Check a StatefulSet's pod management policy."""
    if policy not in ("OrderedReady", "Parallel"):
        found.invalid(field, policy, "must be 'OrderedReady' or 'Parallel'")


@function
def stateful_update(update: Object, field: str, found: Causes, _: Object) -> None:
    """Check the kind of a StatefulSet's updates."""
    if update["type"] not in ("RollingUpdate", "OnDelete"):
        shown = {"Type": update["type"], "RollingUpdate": update.get("rollingUpdate")}
        found.invalid(field, shown, "must be 'RollingUpdate' or 'OnDelete'")


@function
def daemon_update(update: Object, field: str, found: Causes, _: Object) -> None:
    """Check that a DaemonSet's rolling update can move, and in one way."""
    _check_kind(update, field, found, ("RollingUpdate", "OnDelete"))
    if update["type"] != "RollingUpdate":
        return
    rolling, field = update.get("rollingUpdate") or {}, f"{field}.rollingUpdate"
    none = [rolling.get(key) in (0, "0%", None) for key in ("maxUnavailable", "maxSurge")]
    if all(none):
        found.required(f"{field}.maxUnavailable", "cannot be 0 when maxSurge is 0")
    elif not any(none):
        why = "may not be set when maxUnavailable is non-zero"
        found.invalid(f"{field}.maxSurge", rolling["maxSurge"], why)


def _check_kind(update: Object, field: str, found: Causes, kinds: tuple[str, ...]) -> None:
    if update["type"] not in kinds:
        shown = {"Type": update["type"], "RollingUpdate": update.get("rollingUpdate")}
        found.unsupported(field, shown, kinds)


class StatefulSets(Workload):
    """Pods with an identity."""

    def validate_update(self, obj: Object, old: Object, found: Causes) -> None:
        """Refuse changes of most fields."""
        keys = ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates")
        if any(obj["spec"].get(key) != old["spec"].get(key) for key in keys):
            found.forbidden("spec", _STATEFUL_FIXED)


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
def ending_restart_policy(policy: str | None, field: str, found: Causes, _: Object) -> None:
    """Check that pods which shall end are not always restarted."""
    if policy == "Always" or not policy:
        found.required(field, 'valid values: "OnFailure", "Never"')


@function
def exit_codes(rule: Object | None, field: str, found: Causes, _: Object) -> None:
    """Check the exit codes of a pod failure policy."""
    if rule is None:
        return
    values = rule.get("values") or []
    if not values:
        found.invalid(f"{field}.values", values, "at least one value is required")
    for index, value in enumerate(values):
        if rule.get("operator") == "In" and value == 0:
            found.invalid(f"{field}.values[{index}]", value, "must not be 0 for the In operator")
        if value in values[:index]:
            found.duplicate(f"{field}.values[{index}]", value)
    if values != sorted(values):
        found.invalid(f"{field}.values", values, "must be ordered")


@function
def failure_rules(rules: list[Object] | None, field: str, found: Causes, _: Object) -> None:
    """Check that each rule of a pod failure policy says when it holds."""
    for index, rule in enumerate(rules or []):
        both = (rule.get("onExitCodes") is not None) + bool(rule.get("onPodConditions"))
        if both != 1:
            count = "both OnExitCodes and OnPodConditions is not supported"
            why = count if both else "one of OnExitCodes and OnPodConditions is required"
            cause = errors.cause(
                "FieldValueInvalid", f"{field}[{index}]", f"Invalid value: specifying {why}"
            )
            found.append(cause)


@function
def generated_selector(selector: Object | None, field: str, found: Causes, job: Object) -> None:
    """Check that a Job has no more than the selector that was made for it, unless it says to have its own."""
    made = {_UID_LABELS[0]: job["metadata"].get("uid")}
    extended = made.items() < ((selector or {}).get("matchLabels") or {}).items()
    if extended and not job["spec"].get("manualSelector"):
        found.invalid(field, selector, "`selector` not auto-generated")


@function
def indexed_name(name: str | None, field: str, found: Causes, job: Object) -> None:
    """Check that an Indexed Job's name leaves room for the index in its pods' names."""
    spec = job["spec"]
    if spec.get("completionMode") == "Indexed" and spec.get("completions") and name:
        longest = f"{name}-{spec['completions'] - 1}"
        if names.dns_label(longest):
            why = f"will not able to create pod with invalid DNS label: {longest}"
            found.invalid(field, name, why)


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
    if not text:
        found.required(field)
    elif "TZ" in text:
        why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        found.invalid(field, text, why)
    else:
        try:
            Schedule.parse(text)
        except ValueError as error:
            found.invalid(field, text, str(error))


@function
def time_zone(zone: str | None, field: str, found: Causes, _: Object) -> None:
    """Check a time zone's name."""
    if zone is None:
        return
    if not zone:
        found.invalid(field, zone, "timeZone must be nil or non-empty string")
    elif zone.lower() == "local":
        why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        found.invalid(field, zone, why)
    else:
        try:
            zoneinfo.ZoneInfo(zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            found.invalid(field, zone, f"unknown time zone {zone}")


@function
def job_template_labels(_: Any, field: str, found: Causes, cron_job: Object) -> None:
    """Check the labels of a CronJob's Jobs."""
    found.labels(field, (cron_job["spec"]["jobTemplate"].get("metadata") or {}).get("labels"))


@function
def no_manual_selector(manual: object, field: str, found: Causes, _: Object) -> None:
    """Check that a CronJob's Jobs make their selectors themselves."""
    if manual:
        found.unsupported(field, True, ("nil", "false"))


@filler
def complete_controller(controller: Object) -> None:
    """Fill in a ReplicationController's selector and labels, which are its template's."""
    labels = (controller["spec"]["template"].get("metadata") or {}).get("labels") or {}
    if labels:
        controller["spec"].setdefault("selector", dict(labels))
        controller["metadata"].setdefault("labels", dict(labels))
