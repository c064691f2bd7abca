"""When is an object ready? One function a kind, each looking only at what the server reports.

Follows `kubectl rollout status` for workloads and the conventions for conditions
(https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md).
A status older than the spec (observedGeneration) proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from . import json_path

Object = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """`missing` is empty when ready; `failed` when waiting longer cannot help."""

    missing: str = ""
    failed: bool = False


READY = Verdict()


@dataclass(frozen=True)
class Condition:
    """What some objects are to be waited for instead of their kind's default.

    An empty `type` stands for not waiting at all. With a `json_path` it is not a condition that is waited
    for but a value there: `value`, or any that is not empty.
    """

    kind: str
    api_version: str = ""
    name: str = ""
    namespace: str = ""
    type: str = "Ready"
    status: str = "True"
    reason: str = ""
    json_path: str = ""
    value: str | None = None

    def applies_to(self, obj: Object) -> bool:
        """Return whether this is about an object."""
        metadata = obj["metadata"]
        return (
            self.kind == obj["kind"]
            and self.api_version in ("", obj["apiVersion"])
            and self.name in ("", metadata["name"])
            and self.namespace in ("", metadata.get("namespace", ""))
        )


def verdict(obj: Object, wanted: Condition | None = None) -> Verdict:
    """Judge a live object; kinds that are ready by existing give READY."""
    stale = _stale(obj)
    if wanted is not None:
        if wanted.json_path:
            return stale or _value(obj, wanted.json_path, wanted.value)
        if not wanted.type:
            return READY
        return stale or _condition(obj, wanted.type, wanted.status, wanted.reason)
    group = obj["apiVersion"].rpartition("/")[0]
    judge = _JUDGES.get((group, obj["kind"]))
    if judge is not None:
        return stale or judge(obj)
    if "." in group and not group.endswith(".k8s.io"):
        return stale or _custom(obj)
    return READY


def expects_status(crd: Object, api_version: str) -> bool:
    """Return whether resources of this definition are given conditions by a controller.

    Told by the schema of their status, or by a column that shows a condition.
    """
    name = api_version.rpartition("/")[2]
    for version in crd["spec"].get("versions") or []:
        if version.get("name") == name and "status" in (version.get("subresources") or {}):
            schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
            status = (schema.get("properties") or {}).get("status") or {}
            columns = version.get("additionalPrinterColumns") or []
            shown = any(".status.conditions" in column.get("jsonPath", "") for column in columns)
            return shown or "conditions" in (status.get("properties") or {})
    return False


def has_conditions(obj: Object) -> bool:
    """Return whether a controller has reported on it."""
    return bool(_status(obj).get("conditions"))


def is_finished(obj: Object) -> bool:
    """Return whether an object has done what it was made for, so that its controller may delete it."""
    status = _status(obj)
    return status.get("phase") in ("Succeeded", "Completed") or any(
        condition.get("type") in ("Complete", "Completed", "Succeeded")
        and condition.get("status") == "True"
        for condition in status.get("conditions") or []
    )


def services(webhooks: Object) -> Iterator[tuple[str, str]]:
    """Yield (namespace, name) of the Services that a webhook configuration calls."""
    for webhook in webhooks.get("webhooks") or []:
        service = (webhook.get("clientConfig") or {}).get("service")
        if service:
            yield service["namespace"], service["name"]


def _status(obj: Object) -> Object:
    status: Object = obj.get("status") or {}
    return status


def _stale(obj: Object) -> Verdict | None:
    observed = _status(obj).get("observedGeneration")
    generation = obj["metadata"].get("generation")
    if isinstance(observed, int) and isinstance(generation, int) and observed < generation:
        return Verdict("its controller has not seen the newest version yet")
    return None


def _condition(obj: Object, kind: str, status: str = "True", reason: str = "") -> Verdict:
    for condition in _status(obj).get("conditions") or []:
        if condition.get("type") != kind:
            continue
        observed = condition.get("observedGeneration")
        generation = obj["metadata"].get("generation")
        if isinstance(observed, int) and isinstance(generation, int) and observed < generation:
            return Verdict(f"{kind} is about an older version")
        if condition.get("status") == status and reason in ("", condition.get("reason")):
            return READY
        return Verdict(f"{kind}={condition.get('status')}{_why(condition)}")
    return Verdict(f"no condition {kind} yet")


def _value(obj: Object, path: str, wanted: str | None) -> Verdict:
    found = [json_path.text(value) for value in json_path.find(obj, json_path.parse(path))]
    if any(found) if wanted is None else found and all(value == wanted for value in found):
        return READY
    shown = ", ".join(found) or "not set"
    return Verdict(f"{path} is {shown}" + (f", not {wanted}" if wanted is not None else ""))


def _why(condition: Object) -> str:
    words = [condition[key] for key in ("reason", "message") if condition.get(key)]
    return f" ({': '.join(words)})" if words else ""


def _custom(obj: Object) -> Verdict:
    conditions = _status(obj).get("conditions") or []
    if any(condition.get("type") == "Ready" for condition in conditions):
        return _condition(obj, "Ready")
    return READY


def _unobserved(obj: Object) -> bool:
    return "observedGeneration" not in _status(obj)


def _deployment(obj: Object) -> Verdict:
    if _unobserved(obj):
        return Verdict("its controller has not seen it yet")
    wanted = obj["spec"].get("replicas", 1)
    status = _status(obj)
    updated = status.get("updatedReplicas", 0)
    if updated < wanted:
        return Verdict(f"{updated} of {wanted} replicas updated{_progressing(obj)}")
    if status.get("replicas", 0) > updated:
        return Verdict(f"{status['replicas'] - updated} old replicas still there")
    available = status.get("availableReplicas", 0)
    if available < updated:
        return Verdict(f"{available} of {updated} replicas available{_progressing(obj)}")
    return READY


def _progressing(obj: Object) -> str:
    for condition in _status(obj).get("conditions") or []:
        if condition.get("type") == "Progressing" and condition.get("status") == "False":
            return _why(condition)
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return _why(condition)
    return ""


def _stateful_set(obj: Object) -> Verdict:
    if _unobserved(obj):
        return Verdict("its controller has not seen it yet")
    wanted = obj["spec"].get("replicas", 1)
    status = _status(obj)
    strategy = obj["spec"].get("updateStrategy") or {}
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    ready = status.get("readyReplicas", 0)
    if ready < wanted:
        return Verdict(f"{ready} of {wanted} replicas ready")
    if strategy.get("type") == "OnDelete":
        return READY
    updated = status.get("updatedReplicas", 0)
    if updated < wanted - partition:
        return Verdict(f"{updated} of {wanted - partition} replicas updated")
    return READY


def _daemon_set(obj: Object) -> Verdict:
    if _unobserved(obj):
        return Verdict("its controller has not seen it yet")
    status = _status(obj)
    wanted = status.get("desiredNumberScheduled", 0)
    strategy = obj["spec"].get("updateStrategy") or {}
    for key, word in (("updatedNumberScheduled", "updated"), ("numberAvailable", "available")):
        if word == "updated" and strategy.get("type") == "OnDelete":
            continue  # pods are replaced when they are deleted
        if status.get(key, 0) < wanted:
            return Verdict(f"{status.get(key, 0)} of {wanted} pods {word}")
    return READY


def _replica_set(obj: Object) -> Verdict:
    wanted = obj["spec"].get("replicas", 1)
    available = _status(obj).get("availableReplicas", 0)
    return READY if available >= wanted else Verdict(f"{available} of {wanted} replicas available")


def _pod(obj: Object) -> Verdict:
    phase = _status(obj).get("phase")
    if phase == "Succeeded":
        return READY
    if phase == "Failed":
        return Verdict(f"failed: {_status(obj).get('reason') or 'see its logs'}", failed=True)
    return _condition(obj, "Ready")


def _job(obj: Object) -> Verdict:
    if (obj["spec"].get("suspend")) is True:
        return READY
    failed = _condition(obj, "Failed")
    if failed == READY:
        conditions = _status(obj)["conditions"]
        why = next(_why(item) for item in conditions if item["type"] == "Failed")
        return Verdict(f"failed{why}", failed=True)
    if _condition(obj, "Complete") == READY:
        return READY
    status = _status(obj)
    return Verdict(
        f"{status.get('succeeded', 0)} of {obj['spec'].get('completions', 1)} pods succeeded,"
        f" {status.get('failed', 0)} failed"
    )


def _definition(obj: Object) -> Verdict:
    names = _condition(obj, "NamesAccepted", "False")
    if names == READY:
        return Verdict("its names are taken by another CustomResourceDefinition", failed=True)
    return _condition(obj, "Established")


def _webhook_ca(obj: Object) -> Verdict:
    bare = [
        webhook["name"]
        for webhook in obj.get("webhooks") or []
        if (webhook.get("clientConfig") or {}).get("service")
        and not webhook["clientConfig"].get("caBundle")
    ]
    return Verdict(f"no caBundle yet for {', '.join(bare)}") if bare else READY


def _namespace(obj: Object) -> Verdict:
    phase = _status(obj).get("phase")
    return READY if phase == "Active" else Verdict(f"its phase is {phase}")


_JUDGES: dict[tuple[str, str], Callable[[Object], Verdict]] = {
    ("", "Namespace"): _namespace,
    ("", "Pod"): _pod,
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): _webhook_ca,
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): _webhook_ca,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("apiregistration.k8s.io", "APIService"): lambda obj: _condition(obj, "Available"),
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("batch", "Job"): _job,
}
