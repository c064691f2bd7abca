"""Autoscalers, disruption budgets, priority classes, leases and signing requests."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.strategy import Strategy

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

Json = dict[str, Any]
_HIGHEST_USER_PRIORITY = 10**9


class HorizontalPodAutoscalers(Strategy):
    """autoscaling/v2 HorizontalPodAutoscalers."""

    def default(self, obj: Json) -> None:
        """Default to one replica at least, and 80 % of the CPU."""
        spec = obj.setdefault("spec", {})
        spec.setdefault("minReplicas", 1)
        if not spec.get("metrics"):
            target = {"type": "Utilization", "averageUtilization": 80}
            spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
        for direction in ("scaleUp", "scaleDown"):
            rules = (spec.get("behavior") or {}).get(direction)
            if rules is not None:
                rules.setdefault("selectPolicy", "Max")
                if direction == "scaleUp":
                    rules.setdefault("stabilizationWindowSeconds", 0)

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Start with an empty status."""
        obj["status"] = {"desiredReplicas": 0}

    def validate(self, obj: Json, found: Causes) -> None:
        """Check the bounds and the target."""
        spec = obj["spec"]
        low, high = spec["minReplicas"], spec.get("maxReplicas", 0)
        if low < 1:
            found.invalid("spec.minReplicas", low, "must be greater than or equal to 1")
        if high < 1:
            found.required("spec.maxReplicas", "must be set and greater than 0")
        if high < low:
            text = "must be greater than or equal to `minReplicas`"
            found.invalid("spec.maxReplicas", high, text)
        target = spec.get("scaleTargetRef") or {}
        for key in ("kind", "name"):
            if not target.get(key):
                found.required(f"spec.scaleTargetRef.{key}")
        if not target.get("apiVersion") and target.get("kind") != "ReplicationController":
            text = "apiVersion must specify API group"
            found.invalid("spec.scaleTargetRef.apiVersion", "", text)


class DisruptionBudgets(Strategy):
    """policy/v1 PodDisruptionBudgets."""

    tracks_generation = True

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Start with an empty status."""
        obj["status"] = {
            "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0,
        }  # fmt: skip

    def validate(self, obj: Json, found: Causes) -> None:
        """Check that there is one bound at most, and the selector."""
        spec = obj.get("spec") or {}
        low, high = spec.get("minAvailable"), spec.get("maxUnavailable")
        if low is not None and high is not None:
            shown = {
                "MinAvailable": low, "Selector": spec.get("selector"), "MaxUnavailable": high,
                "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy"),
            }  # fmt: skip
            found.invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set")
        found.not_negative(spec, "spec", "minAvailable", "maxUnavailable")
        found.selector("spec.selector", spec.get("selector"))


class PriorityClasses(Strategy):
    """How important pods are."""

    tracks_generation = True

    def default(self, obj: Json) -> None:
        """Default to making room at the cost of lower priorities."""
        obj.setdefault("preemptionPolicy", "PreemptLowerPriority")

    def validate(self, obj: Json, found: Causes) -> None:
        """Check that the priority is not one of the system's."""
        if obj["metadata"].get("name", "").startswith("system-"):
            text = "priority class names with 'system-' prefix are reserved for system use only"
            found.forbidden("metadata.name", text)
        elif obj.get("value", 0) > _HIGHEST_USER_PRIORITY:
            text = f"maximum allowed value of a user defined priority is {_HIGHEST_USER_PRIORITY}"
            found.forbidden("value", text)
        found.one_of(obj, "preemptionPolicy", "", ("Never", "PreemptLowerPriority"))

    def validate_update(self, obj: Json, old: Json, found: Causes) -> None:
        """Refuse another priority."""
        if obj.get("value", 0) != old.get("value", 0):
            found.forbidden("value", "may not be changed in an update.")


class Leases(Strategy):
    """Who leads."""

    create_on_update = True

    def validate(self, obj: Json, found: Causes) -> None:
        """Check the numbers."""
        spec = obj.get("spec") or {}
        seconds = spec.get("leaseDurationSeconds")
        if seconds is not None and seconds <= 0:
            found.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
        found.not_negative(spec, "spec", "leaseTransitions")


class SigningRequests(Strategy):
    """CertificateSigningRequests: kept, with no signer behind them."""

    def validate(self, obj: Json, found: Causes) -> None:
        """Check request, usages and signer."""
        spec = obj.get("spec") or {}
        request = spec.get("request", "")
        if b"-----BEGIN CERTIFICATE REQUEST" not in base64.b64decode(request):
            text = "PEM block type must be CERTIFICATE REQUEST"
            found.invalid("spec.request", request, text)
        if not spec.get("usages"):
            found.required("spec.usages", "usages must be set")
        if not spec.get("signerName"):
            found.required("spec.signerName")
