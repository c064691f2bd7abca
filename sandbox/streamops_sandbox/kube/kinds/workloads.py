"""Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs and CronJobs."""

from __future__ import annotations

import zoneinfo
from typing import TYPE_CHECKING, Any

from streamops_sandbox.cron import Schedule
from streamops_sandbox.kube import names, selectors
from streamops_sandbox.kube.kinds import pod_defaults, pod_validation
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.strategy import Strategy

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

Json = dict[str, Any]
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


class Workload(Strategy):
    """A kind with a pod template, whose labels the selector has to match for good."""

    tracks_generation = True

    def default(self, obj: Json) -> None:
        """Fill in the template's defaults, then the kind's own."""
        spec = obj.setdefault("spec", {})
        pod_defaults.default_template(spec.setdefault("template", {}))
        self.default_spec(spec)

    def default_spec(self, spec: Json) -> None:
        """Fill in the kind's own defaults, in place."""

    def validate(self, obj: Json, found: Causes) -> None:
        """Check numbers, the kind's own fields, the selector and the template."""
        spec = obj["spec"]
        numbers = ("replicas", "minReadySeconds", "revisionHistoryLimit")
        found.not_negative(spec, "spec", *numbers)
        self.validate_spec(spec, found)
        check_selector(spec, "spec", found)
        check_template(spec["template"], "spec.template", found, self.restart_policies)

    restart_policies: tuple[str, ...] = ("Always",)

    def validate_spec(self, spec: Json, found: Causes) -> None:
        """Collect the violations of the kind's own fields."""

    def validate_update(self, obj: Json, old: Json, found: Causes) -> None:
        """Refuse a changed selector."""
        found.immutable(obj["spec"], old["spec"], "spec", "selector")

    def warnings(self, obj: Json) -> list[str]:
        """Return the template's warnings."""
        template, name = obj["spec"]["template"], obj["metadata"].get("name", "")
        problems = names.dns_label(name) if name else []
        first = [f"{_HOST_NAME}[{', '.join(problems)}]"] if problems else []
        return first + pod_validation.warnings(
            template["spec"], "spec.template.spec", template.get("metadata") or {}
        )


def check_selector(spec: Json, field: str, found: Causes) -> None:
    """Check that a selector is there and matches the template's labels."""
    selector = spec.get("selector")
    if selector is None:
        found.required(f"{field}.selector")
    else:
        before = len(found)
        found.selector(f"{field}.selector", selector)
        if len(found) > before:
            return
        if not selector:
            why = "empty selector is invalid for deployment"
            found.invalid(f"{field}.selector", selector, why)
            return
    labels = (spec["template"].get("metadata") or {}).get("labels")
    # Without a selector nothing matches, as with labels.Nothing().
    if selector is None or not selectors.from_object(selector).matches(labels or {}):
        why = "`selector` does not match template `labels`"
        found.invalid(f"{field}.template.metadata.labels", labels or None, why)


def check_template(template: Json, field: str, found: Causes, policies: tuple[str, ...]) -> None:
    """Check a pod template and that its restart policy is one the kind can have."""
    metadata = template.get("metadata") or {}
    found.labels(f"{field}.labels", metadata.get("labels"))
    pod_validation.validate(template["spec"], f"{field}.spec", found, metadata, f"{field}.")
    policy = template["spec"].get("restartPolicy")
    if policy not in policies and policy in ("Always", "OnFailure", "Never"):
        found.unsupported(f"{field}.spec.restartPolicy", policy, policies)
    if template["spec"].get("ephemeralContainers"):
        found.forbidden(
            f"{field}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template"
        )


class Deployments(Workload):
    """Pods that are replaced step by step."""

    def default_spec(self, spec: Json) -> None:
        """Fill in the defaults of pkg/apis/apps/v1/defaults.go."""
        spec.setdefault("replicas", 1)
        strategy = spec.setdefault("strategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", "25%")
            rolling.setdefault("maxSurge", "25%")
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)

    def validate_spec(self, spec: Json, found: Causes) -> None:
        """Check the update strategy and the deadline."""
        strategy, field = spec["strategy"], "spec.strategy.rollingUpdate"
        rolling = strategy.get("rollingUpdate")
        if strategy["type"] == "Recreate" and rolling:
            found.forbidden(field, "may not be specified when strategy `type` is 'Recreate'")
        elif strategy["type"] == "RollingUpdate":
            _check_rolling_update(rolling or {}, field, found)
        found.one_of(strategy, "type", "spec.strategy", ("Recreate", "RollingUpdate"))
        found.not_negative(spec, "spec", "progressDeadlineSeconds")
        if spec["progressDeadlineSeconds"] <= spec.get("minReadySeconds", 0):
            why = "must be greater than minReadySeconds"
            found.invalid("spec.progressDeadlineSeconds", spec["progressDeadlineSeconds"], why)


def _check_rolling_update(rolling: Json, field: str, found: Causes) -> None:
    for key in ("maxUnavailable", "maxSurge"):
        value = rolling.get(key, 0)
        if isinstance(value, str) and not (value.endswith("%") and value[:-1].isdigit()):
            why = (
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  "
                "or '93%', regex used for validation is '[0-9]+%')"
            )
            found.invalid(f"{field}.{key}", value, why)
        found.not_negative(rolling, field, key)
    if rolling.get("maxUnavailable") in (0, "0%") and rolling.get("maxSurge") in (0, "0%"):
        why = "may not be 0 when `maxSurge` is 0"
        found.invalid(f"{field}.maxUnavailable", rolling["maxUnavailable"], why)
    unavailable = rolling.get("maxUnavailable")
    if isinstance(unavailable, str) and unavailable[:-1].isdigit() and int(unavailable[:-1]) > 100:
        found.invalid(f"{field}.maxUnavailable", unavailable, "must not be greater than 100%")


class ReplicaSets(Workload):
    """So many pods of a kind."""

    def default_spec(self, spec: Json) -> None:
        """Default to one replica."""
        spec.setdefault("replicas", 1)

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Start with an empty status."""
        obj["status"] = {"replicas": 0}


class StatefulSets(Workload):
    """Pods with an identity."""

    def default_spec(self, spec: Json) -> None:
        """Fill in the defaults of pkg/apis/apps/v1/defaults.go."""
        spec.setdefault("podManagementPolicy", "OrderedReady")
        update = spec.setdefault("updateStrategy", {})
        if update.setdefault("type", "RollingUpdate") == "RollingUpdate":
            update.setdefault("rollingUpdate", {}).setdefault("partition", 0)
        retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
        retention.setdefault("whenDeleted", "Retain")
        retention.setdefault("whenScaled", "Retain")
        spec.setdefault("replicas", 1)
        spec.setdefault("revisionHistoryLimit", 10)
        for claim in spec.get("volumeClaimTemplates") or []:
            claim.setdefault("apiVersion", "v1")
            claim.setdefault("kind", "PersistentVolumeClaim")
            claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
            claim.setdefault("status", {"phase": "Pending"})

    def validate_spec(self, spec: Json, found: Causes) -> None:
        """Check the policies."""
        policy = spec["podManagementPolicy"]
        if policy not in ("OrderedReady", "Parallel"):
            found.invalid(
                "spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'"
            )
        update = spec["updateStrategy"]
        if update["type"] not in ("RollingUpdate", "OnDelete"):
            shown = {"Type": update["type"], "RollingUpdate": update.get("rollingUpdate")}
            found.invalid("spec.updateStrategy", shown, "must be 'RollingUpdate' or 'OnDelete'")
        found.not_negative(
            update.get("rollingUpdate") or {}, "spec.updateStrategy.rollingUpdate", "partition"
        )

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Start with an empty status."""
        obj["status"] = {"replicas": 0, "availableReplicas": 0}

    def validate_update(self, obj: Json, old: Json, found: Causes) -> None:
        """Refuse changes of most fields."""
        keys = ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates")
        if any(obj["spec"].get(key) != old["spec"].get(key) for key in keys):
            found.forbidden("spec", _STATEFUL_FIXED)


class DaemonSets(Workload):
    """A pod on every node."""

    def default_spec(self, spec: Json) -> None:
        """Fill in the defaults of pkg/apis/apps/v1/defaults.go."""
        update = spec.setdefault("updateStrategy", {})
        if update.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = update.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", 1)
            rolling.setdefault("maxSurge", 0)
        spec.setdefault("revisionHistoryLimit", 10)

    def validate_spec(self, spec: Json, found: Causes) -> None:
        """Check the update strategy."""
        update = spec["updateStrategy"]
        if update["type"] == "RollingUpdate":
            rolling, field = update.get("rollingUpdate") or {}, "spec.updateStrategy.rollingUpdate"
            if rolling.get("maxUnavailable") in (0, "0%") and rolling.get("maxSurge") in (0, "0%"):
                why = "cannot be 0 when maxSurge is 0"
                found.invalid(f"{field}.maxUnavailable", rolling["maxUnavailable"], why)
        found.one_of(update, "type", "spec.updateStrategy", ("RollingUpdate", "OnDelete"))

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Start with an empty status, at the template's first generation."""
        obj["metadata"].setdefault("annotations", {})[_TEMPLATE_GENERATION] = "1"
        obj["status"] = {
            "currentNumberScheduled": 0,
            "desiredNumberScheduled": 0,
            "numberMisscheduled": 0,
            "numberReady": 0,
        }

    def prepare_update(self, obj: Json, old: Json, api: Api) -> None:
        """Count the template's changes."""
        count = (old["metadata"].get("annotations") or {}).get(_TEMPLATE_GENERATION, "1")
        if obj["spec"]["template"] != old["spec"]["template"] and count.isdigit():
            count = str(int(count) + 1)
        obj["metadata"].setdefault("annotations", {})[_TEMPLATE_GENERATION] = count


def _default_job_spec(spec: Json) -> None:
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    spec.setdefault("parallelism", 1)
    if spec.get("backoffLimitPerIndex") is None:
        spec.setdefault("backoffLimit", 6)
    elif spec.get("backoffLimit") is None:
        spec["backoffLimit"] = 2**31 - 1
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    replacement = "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
    spec.setdefault("podReplacementPolicy", replacement)
    spec.setdefault("manualSelector", False)


def _check_job_spec(spec: Json, field: str, found: Causes) -> None:
    found.not_negative(
        spec, field, "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit",
        "ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes",
    )  # fmt: skip
    found.one_of(spec, "completionMode", field, ("NonIndexed", "Indexed"))
    if spec.get("completionMode") == "Indexed" and spec.get("completions") is None:
        found.required(f"{field}.completions", "when completion mode is Indexed")
    policies = ("Failed", "TerminatingOrFailed")
    found.one_of(spec, "podReplacementPolicy", field, policies)
    policy, path = (
        spec["template"]["spec"].get("restartPolicy"),
        f"{field}.template.spec.restartPolicy",
    )
    metadata = spec["template"].get("metadata") or {}
    template = f"{field}.template"
    pod_validation.validate(
        spec["template"]["spec"], f"{template}.spec", found, metadata, f"{template}."
    )
    if policy == "Always" or not policy:
        found.unsupported(path, policy or "", ("OnFailure", "Never"))


class Jobs(Workload):
    """Pods that run to completion; each Job selects its own by its uid."""

    def default(self, obj: Json) -> None:
        """Fill in the defaults; a Job without labels has its template's."""
        super().default(obj)
        labels = obj["spec"]["template"]["metadata"].get("labels")
        if labels and not obj["metadata"].get("labels"):
            obj["metadata"]["labels"] = dict(labels)

    def default_spec(self, spec: Json) -> None:
        """Fill in the defaults of pkg/apis/batch/v1/defaults.go."""
        _default_job_spec(spec)

    def validate(self, obj: Json, found: Causes) -> None:
        """Check selector, numbers and template."""
        spec = obj["spec"]
        check_selector(spec, "spec", found)
        _check_job_spec(spec, "spec", found)
        name = obj["metadata"].get("name", "")
        if spec.get("completionMode") == "Indexed" and spec.get("completions") and name:
            longest = f"{name}-{spec['completions'] - 1}"
            problems = names.dns_label(longest)
            found.problems(
                "metadata.name",
                name,
                [f"will not able to create pod with invalid DNS label: {longest}"] * bool(problems),
            )

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Make selector and labels from the uid, unless the user has their own."""
        spec, metadata = obj["spec"], obj["metadata"]
        obj["status"] = {}
        if spec.get("manualSelector"):
            return
        labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
        labels |= dict.fromkeys(_UID_LABELS, metadata["uid"])
        labels |= dict.fromkeys(_NAME_LABELS, metadata["name"])
        selector = spec.setdefault("selector", {}).setdefault("matchLabels", {})
        selector[_UID_LABELS[0]] = metadata["uid"]
        self.default(obj)

    def validate_update(self, obj: Json, old: Json, found: Causes) -> None:
        """Refuse changes of what runs; the Job's own rules are reported twice."""
        spec, before = obj["spec"], old["spec"]
        self.validate(obj, found)
        if spec.get("completionMode") != "Indexed":
            found.immutable(spec, before, "spec", "completions")
        found.immutable(spec, before, "spec", "selector")
        suspended = before.get("suspend") and not (old.get("status") or {}).get("startTime")
        kept = {
            **spec["template"],
            "metadata": None,
            "spec": _scheduling(spec["template"]["spec"], suspended),
        }
        was = {
            **before["template"],
            "metadata": None,
            "spec": _scheduling(before["template"]["spec"], suspended),
        }
        if kept != was:
            found.invalid("spec.template.spec", spec["template"]["spec"], "field is immutable")
        found.immutable(spec, before, "spec", "completionMode")


def _scheduling(spec: Json, changeable: object) -> Json:
    """Return a pod spec without what may change while its Job has not started."""
    kept = {key: value for key, value in spec.items() if value not in ([], {}, "", None)}
    if changeable:
        for key in ("nodeSelector", "affinity", "tolerations", "schedulingGates"):
            kept.pop(key, None)
    return kept


class CronJobs(Strategy):
    """Jobs by the clock."""

    tracks_generation = True

    def default(self, obj: Json) -> None:
        """Fill in the defaults of pkg/apis/batch/v1/defaults.go: the Job's own are set when it starts."""
        spec = obj.setdefault("spec", {})
        spec.setdefault("concurrencyPolicy", "Allow")
        spec.setdefault("suspend", False)
        spec.setdefault("successfulJobsHistoryLimit", 3)
        spec.setdefault("failedJobsHistoryLimit", 1)
        template = spec.setdefault("jobTemplate", {}).setdefault("spec", {})
        pod_defaults.default_template(template.setdefault("template", {}))

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Start with an empty status."""
        obj["status"] = {}

    def validate(self, obj: Json, found: Causes) -> None:
        """Check the schedule, its zone and the Job's template."""
        spec = obj["spec"]
        schedule, zone = spec.get("schedule"), spec.get("timeZone")
        if not schedule:
            found.required("spec.schedule")
        elif "TZ" in schedule:
            why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            found.invalid("spec.schedule", schedule, why)
        else:
            try:
                Schedule.parse(schedule)
            except ValueError as error:
                found.invalid("spec.schedule", schedule, str(error))
        if zone is not None and (zone.lower() in ("", "local") or not _is_zone(zone)):
            found.invalid("spec.timeZone", zone, f"unknown time zone {zone}")
        found.not_negative(spec, "spec", "startingDeadlineSeconds")
        policies = ("Allow", "Forbid", "Replace")
        found.one_of(spec, "concurrencyPolicy", "spec", policies)
        job = spec["jobTemplate"]["spec"]
        found.labels(
            "spec.jobTemplate.labels", (spec["jobTemplate"].get("metadata") or {}).get("labels")
        )
        _check_job_spec(job, "spec.jobTemplate.spec", found)
        if job.get("manualSelector"):
            path = "spec.jobTemplate.spec.manualSelector"
            found.unsupported(path, True, ("nil", "false"))
        found.not_negative(spec, "spec", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


class ReplicationControllers(Strategy):
    """The ReplicaSet's ancestor: kept, with nothing behind it."""

    tracks_generation = True

    def default(self, obj: Json) -> None:
        """Selector and labels default to the template's labels."""
        spec = obj.setdefault("spec", {})
        spec.setdefault("replicas", 1)
        template = spec.setdefault("template", {})
        pod_defaults.default_template(template)
        labels = (template.get("metadata") or {}).get("labels") or {}
        if labels:
            spec.setdefault("selector", dict(labels))
            obj["metadata"].setdefault("labels", dict(labels))

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Start with an empty status."""
        obj["status"] = {"replicas": 0}


class PodTemplates(Strategy):
    """Templates of pods, kept for nobody in particular."""

    tracks_generation = True
    returns_deleted = True

    def default(self, obj: Json) -> None:
        """Fill in the template's defaults."""
        pod_defaults.default_template(obj.setdefault("template", {}))
