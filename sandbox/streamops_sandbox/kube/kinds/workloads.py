"""Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs and CronJobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from streamops_sandbox.cron import Schedule
from streamops_sandbox.kube import errors, selectors
from streamops_sandbox.kube.kinds import podspec, rules
from streamops_sandbox.kube.kinds.strategy import Strategy

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

Json = dict[str, Any]
_UID_LABELS = ("batch.kubernetes.io/controller-uid", "controller-uid")
_NAME_LABELS = ("batch.kubernetes.io/job-name", "job-name")
_JOB_CHOICES = {
    "completionMode": ("Indexed", "NonIndexed"),
    "podReplacementPolicy": ("Failed", "TerminatingOrFailed"),
}
_JOB_NUMBERS = (
    "activeDeadlineSeconds",
    "backoffLimit",
    "completions",
    "parallelism",
    "ttlSecondsAfterFinished",
)


class Workload(Strategy):
    """What all have: a pod template whose labels the selector has to match, for good."""

    tracks_generation = True
    #: Restart policies the template may have.
    restart_policies: tuple[str, ...] = ("Always",)
    #: Fields that have one of a few values, by path.
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def default(self, obj: Json) -> None:
        """The template's defaults, then the kind's own."""
        spec = obj.setdefault("spec", {})
        podspec.default_template(spec.setdefault("template", {}))
        self.default_spec(spec)

    def default_spec(self, spec: Json) -> None:
        """The kind's own defaults, in place."""

    def validate(self, obj: Json) -> list[Json]:
        """Selector, template and restart policy fit together."""
        spec = obj["spec"]
        template = spec["template"]
        found = podspec.validate(template["spec"], "spec.template.spec")
        selector = spec.get("selector")
        if not selector:
            found.append(errors.cause("FieldValueRequired", "spec.selector", "Required value"))
        else:
            labels = (template.get("metadata") or {}).get("labels") or {}
            if not selectors.from_object(selector).matches(labels):
                shown = _go_map(labels)
                found.append(
                    errors.cause(
                        "FieldValueInvalid",
                        "spec.template.metadata.labels",
                        f"Invalid value: {shown}: `selector` does not match template `labels`",
                    )
                )
        policy = template["spec"].get("restartPolicy")
        if policy not in self.restart_policies:
            field = "spec.template.spec.restartPolicy"
            found.append(rules.unsupported(field, policy, self.restart_policies))
        found += rules.one_of(obj, self.choices)
        return found + rules.not_negative(
            obj, "spec.replicas", "spec.minReadySeconds", "spec.revisionHistoryLimit"
        )

    def validate_update(self, obj: Json, old: Json) -> list[Json]:
        """The selector cannot change."""
        return _fixed(obj, old, "selector")


def _go_map(labels: Json) -> str:
    text = ",".join(f'"{key}":"{value}"' for key, value in sorted(labels.items()))
    return "{" + text + "}"


def _fixed(obj: Json, old: Json, *keys: str) -> list[Json]:
    return [
        errors.cause("FieldValueInvalid", f"spec.{key}", "Invalid value: field is immutable")
        for key in keys
        if obj["spec"].get(key) != old["spec"].get(key)
    ]


class Deployments(Workload):
    """Pods that are replaced step by step."""

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "spec.strategy.type": ("Recreate", "RollingUpdate")
    }

    def default_spec(self, spec: Json) -> None:
        """As pkg/apis/apps/v1/defaults.go."""
        spec.setdefault("replicas", 1)
        strategy = spec.setdefault("strategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", "25%")
            rolling.setdefault("maxSurge", "25%")
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)

    def validate(self, obj: Json) -> list[Json]:
        """A recreating Deployment has no rolling update."""
        found = super().validate(obj)
        strategy = obj["spec"]["strategy"]
        if strategy["type"] == "Recreate" and strategy.get("rollingUpdate"):
            found.append(
                errors.cause(
                    "FieldValueForbidden",
                    "spec.strategy.rollingUpdate",
                    "Forbidden: may not be specified when strategy `type` is 'Recreate'",
                )
            )
        return found


class ReplicaSets(Workload):
    """So many pods of a kind."""

    def default_spec(self, spec: Json) -> None:
        """One replica."""
        spec.setdefault("replicas", 1)

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Nothing runs yet."""
        obj["status"] = {"replicas": 0}


class StatefulSets(Workload):
    """Pods with an identity."""

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "spec.podManagementPolicy": ("OrderedReady", "Parallel"),
        "spec.updateStrategy.type": ("OnDelete", "RollingUpdate"),
    }

    def default_spec(self, spec: Json) -> None:
        """As pkg/apis/apps/v1/defaults.go."""
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

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Nothing runs yet."""
        obj["status"] = {"replicas": 0, "availableReplicas": 0}

    def validate_update(self, obj: Json, old: Json) -> list[Json]:
        """Little may change."""
        keys = ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates")
        if all(obj["spec"].get(key) == old["spec"].get(key) for key in keys):
            return []
        return [
            errors.cause(
                "FieldValueForbidden",
                "spec",
                "Forbidden: updates to statefulset spec for fields other than 'replicas', "
                "'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', "
                "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
            )
        ]


class DaemonSets(Workload):
    """A pod on every node."""

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "spec.updateStrategy.type": ("OnDelete", "RollingUpdate")
    }

    def default_spec(self, spec: Json) -> None:
        """As pkg/apis/apps/v1/defaults.go."""
        update = spec.setdefault("updateStrategy", {})
        if update.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = update.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", 1)
            rolling.setdefault("maxSurge", 0)
        spec.setdefault("revisionHistoryLimit", 10)

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Nothing runs yet."""
        obj["status"] = {
            "currentNumberScheduled": 0,
            "desiredNumberScheduled": 0,
            "numberMisscheduled": 0,
            "numberReady": 0,
        }


def _default_job_spec(spec: Json) -> None:
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    spec.setdefault("parallelism", 1)
    if not spec.get("podFailurePolicy") and "backoffLimitPerIndex" not in spec:
        spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("podReplacementPolicy", "TerminatingOrFailed")


def _job_causes(spec: Json, field: str) -> list[Json]:
    return rules.one_of(spec, _JOB_CHOICES, field) + rules.not_negative(
        spec, *_JOB_NUMBERS, prefix=field
    )


class Jobs(Workload):
    """Pods that run to completion; each Job selects its own by its uid."""

    restart_policies = ("OnFailure", "Never")

    def default_spec(self, spec: Json) -> None:
        """As pkg/apis/batch/v1/defaults.go."""
        _default_job_spec(spec)

    def validate(self, obj: Json) -> list[Json]:
        """As any workload; its numbers are not negative."""
        return super().validate(obj) + _job_causes(obj["spec"], "spec")

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Make selector and labels from the uid, unless the user wants their own."""
        spec, metadata = obj["spec"], obj["metadata"]
        obj["status"] = {}
        if spec.get("manualSelector"):
            return
        labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
        for key in _UID_LABELS:
            labels[key] = metadata["uid"]
        for key in _NAME_LABELS:
            labels[key] = metadata["name"]
        spec.setdefault("selector", {}).setdefault("matchLabels", {})[_UID_LABELS[0]] = metadata[
            "uid"
        ]

    def prepare_update(self, obj: Json, old: Json, api: Api) -> None:
        """What creation added stays, also where an applied configuration leaves it out."""
        spec, before = obj["spec"], old["spec"]
        if before.get("manualSelector"):
            return
        spec.setdefault("selector", before.get("selector"))
        labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
        kept = (before["template"].get("metadata") or {}).get("labels") or {}
        for key in (*_UID_LABELS, *_NAME_LABELS):
            if key in kept:
                labels.setdefault(key, kept[key])

    def validate_update(self, obj: Json, old: Json) -> list[Json]:
        """What runs cannot change."""
        found = _fixed(obj, old, "selector", "completionMode")
        if obj["spec"].get("completionMode") != "Indexed":
            found += _fixed(obj, old, "completions")
        if obj["spec"]["template"] != old["spec"]["template"] and not old["spec"].get("suspend"):
            found.append(
                errors.cause(
                    "FieldValueInvalid", "spec.template", "Invalid value: field is immutable"
                )
            )
        return found


class CronJobs(Strategy):
    """Jobs by the clock."""

    tracks_generation = True

    def default(self, obj: Json) -> None:
        """As pkg/apis/batch/v1/defaults.go."""
        spec = obj.setdefault("spec", {})
        spec.setdefault("concurrencyPolicy", "Allow")
        spec.setdefault("suspend", False)
        spec.setdefault("successfulJobsHistoryLimit", 3)
        spec.setdefault("failedJobsHistoryLimit", 1)
        template = spec.setdefault("jobTemplate", {}).setdefault("spec", {})
        podspec.default_template(template.setdefault("template", {}))
        _default_job_spec(template)

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Nothing has run yet."""
        obj["status"] = {}

    def validate(self, obj: Json) -> list[Json]:
        """The schedule is one; the template is a job's."""
        spec = obj["spec"]
        template = spec["jobTemplate"]["spec"]["template"]
        field = "spec.jobTemplate.spec"
        found = podspec.validate(template["spec"], f"{field}.template.spec")
        policies = {"restartPolicy": ("OnFailure", "Never")}
        found += rules.one_of(template["spec"], policies, f"{field}.template.spec")
        found += _job_causes(spec["jobTemplate"]["spec"], field)
        found += rules.one_of(obj, {"spec.concurrencyPolicy": ("Allow", "Forbid", "Replace")})
        found += rules.not_negative(
            obj,
            "spec.startingDeadlineSeconds",
            "spec.successfulJobsHistoryLimit",
            "spec.failedJobsHistoryLimit",
        )
        schedule = spec.get("schedule")
        if not schedule:
            return [*found, rules.required("spec.schedule")]
        try:
            Schedule.parse(schedule)
        except ValueError as error:
            found.append(rules.invalid("spec.schedule", f'"{schedule}"', str(error)))
        return found


class ReplicationControllers(Strategy):
    """The ReplicaSet's ancestor."""

    tracks_generation = True

    def default(self, obj: Json) -> None:
        """Selector and labels default to the template's labels."""
        spec = obj.setdefault("spec", {})
        spec.setdefault("replicas", 1)
        template = spec.setdefault("template", {})
        podspec.default_template(template)
        labels = (template.get("metadata") or {}).get("labels") or {}
        if labels:
            spec.setdefault("selector", dict(labels))
            obj["metadata"].setdefault("labels", dict(labels))
