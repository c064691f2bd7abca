"""Pods: what a new one gets, and what of it may change."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from streamops_sandbox.kube import errors
from streamops_sandbox.kube.kinds import podspec
from streamops_sandbox.kube.kinds.strategy import Strategy
from streamops_sandbox.kube.quantity import parse

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

Json = dict[str, Any]
_COUNTED = ("cpu", "memory")


class Pods(Strategy):
    """A group of containers that run together."""

    tracks_generation = True

    def default(self, obj: Json) -> None:
        """The spec's defaults; links to Services."""
        spec = obj.setdefault("spec", {})
        podspec.default(spec)
        spec.setdefault("enableServiceLinks", True)

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Pending, with its quality of service."""
        obj["status"] = {"phase": "Pending", "qosClass": quality_of_service(obj["spec"])}

    def validate(self, obj: Json) -> list[Json]:
        """The pod spec's rules."""
        return podspec.validate(obj["spec"], "spec")

    def validate_update(self, obj: Json, old: Json) -> list[Json]:
        """Only images, deadlines, tolerations and gates may change."""
        if _fixed(obj["spec"], old["spec"]) == _fixed(old["spec"], old["spec"]):
            return []
        return [
            errors.cause(
                "FieldValueForbidden",
                "spec",
                "Forbidden: pod updates may not change fields other than "
                "`spec.containers[*].image`,`spec.initContainers[*].image`,"
                "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
                "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it "
                "was previously negative)",
            )
        ]


def _fixed(spec: Json, reference: Json) -> Json:
    """A pod spec with everything that may change taken from a reference."""
    result = copy.copy(spec)
    for key in ("activeDeadlineSeconds", "tolerations", "schedulingGates", "ephemeralContainers"):
        result.pop(key, None)
        if key in reference:
            result[key] = reference[key]
    for key in ("containers", "initContainers"):
        old = {item["name"]: item for item in reference.get(key) or []}
        if key in result:
            result[key] = [
                {**item, "image": old[item["name"]].get("image")} if item["name"] in old else item
                for item in result[key]
            ]
    return result


def quality_of_service(spec: Json) -> str:
    """BestEffort, Burstable or Guaranteed, by requests and limits."""
    requests: dict[str, Any] = {}
    guaranteed = True
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        resources = container.get("resources") or {}
        asked, limited = resources.get("requests") or {}, resources.get("limits") or {}
        for name in _COUNTED:
            if name in asked or name in limited:
                requests[name] = True
            if name not in limited or parse(asked.get(name, limited[name])) != parse(limited[name]):
                guaranteed = False
    if not requests:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
