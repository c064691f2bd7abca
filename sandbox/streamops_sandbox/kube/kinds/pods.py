"""Pods: what a new one gets, and what of it may change."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from streamops_sandbox import timestamps
from streamops_sandbox.kube.kinds import declared, pod_specs
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import filler
from streamops_sandbox.kube.kinds.strategy import Strategy
from streamops_sandbox.kube.quantity import parse
from streamops_sandbox.objects import Object

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

_COUNTED = ("cpu", "memory")
_FIXED = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions "
    "to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
    "previously negative)"
)


@filler
def complete_pod(spec: Object) -> None:
    """Fill in what of a pod spec follows from other fields."""
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        spec["terminationGracePeriodSeconds"] = 1
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in declared.values(spec, "containers|initContainers|ephemeralContainers[]"):
        container.setdefault("imagePullPolicy", _pull_policy(container.get("image", "")))
    for volume in spec.get("volumes") or []:
        if not any(key != "name" for key in volume):
            volume["emptyDir"] = {}


@filler
def complete_requests(spec: Object) -> None:
    """Fill in a pod's requests, which follow from its limits; those of templates do not."""
    for resources in declared.values(spec, "containers|initContainers[].resources"):
        if (resources or {}).get("limits"):
            resources["requests"] = {**resources["limits"], **(resources.get("requests") or {})}


def _pull_policy(image: str) -> str:
    last = image.rpartition("/")[2]
    latest = "@" not in last and last.partition(":")[2] in ("", "latest")
    return "Always" if latest else "IfNotPresent"


class Pods(Strategy):
    """A group of containers that run together."""

    def prepare_create(self, obj: Object, api: Api) -> None:
        """Set the phase Pending and the quality of service; in the node's network, ports are those of the node.

        Templates of pods do not get the latter, since 1.28.
        """
        ports = declared.values(obj["spec"], "containers|initContainers[].ports[]")
        for port in ports if obj["spec"].get("hostNetwork") else ():
            port.setdefault("hostPort", port["containerPort"])
        obj["status"] = {"phase": "Pending", "qosClass": quality_of_service(obj["spec"])}
        if obj["spec"].get("schedulingGates"):
            condition = {
                "type": "PodScheduled", "status": "False", "lastTransitionTime": timestamps.now(),
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }  # fmt: skip
            obj["status"]["conditions"] = [condition]

    def validate_update(self, obj: Object, old: Object, found: Causes) -> None:
        """Allow changes of images, deadlines, tolerations and gates only."""
        spec, before = obj["spec"], old["spec"]
        gates = [gate["name"] for gate in before.get("schedulingGates") or []]
        for index, gate in enumerate(spec.get("schedulingGates") or []):
            if gate["name"] not in gates:
                why = f"only deletion is allowed, but found new scheduling gate '{gate['name']}'"
                found.forbidden(f"spec.schedulingGates[{index}].name", why)
        if len(spec["containers"]) != len(before["containers"]):
            found.forbidden("spec.containers", "pod updates may not add or remove containers")
        elif _fixed(spec, before) != _fixed(before, before):
            found.forbidden("spec", _FIXED)

    def warnings(self, obj: Object) -> list[str]:
        """Return the pod spec's warnings."""
        return pod_specs.warnings(obj["spec"], "spec")


def _fixed(spec: Object, reference: Object) -> Object:
    """Return a pod spec with everything that may change taken from a reference."""
    result = copy.copy(spec)
    changeable = ["activeDeadlineSeconds", "tolerations", "schedulingGates", "ephemeralContainers"]
    if reference.get("schedulingGates"):  # what narrows the choice of nodes may still come
        selected = result.get("nodeSelector") or {}
        narrowed = (reference.get("nodeSelector") or {}).items() <= selected.items()
        changeable += ["nodeSelector"] if narrowed else []
    for key in changeable:
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


def quality_of_service(spec: Object) -> str:
    """Return BestEffort, Burstable or Guaranteed, by requests and limits."""
    some, guaranteed = False, True
    containers = declared.values(spec, "containers|initContainers[]")
    for container in [spec] if spec.get("resources") else containers:
        resources = container.get("resources") or {}
        asked, limited = resources.get("requests") or {}, resources.get("limits") or {}
        for name in _COUNTED:
            some = some or name in asked or name in limited
            if name not in limited or parse(asked.get(name, limited[name])) != parse(limited[name]):
                guaranteed = False
    return "Guaranteed" if some and guaranteed else "Burstable" if some else "BestEffort"
