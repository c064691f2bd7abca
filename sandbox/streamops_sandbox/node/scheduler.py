"""Assigns pods to the node: a scheduler for clusters of one node.

Looks at `schedulerName`, the node selector and taints, whatever is tolerated, and keeps pods waiting
that ask for what the node does not do. Resources are not counted: containers are processes of one
machine, which has no reservation to give.
"""

from __future__ import annotations

import copy

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Controller, Key, key_of
from streamops_sandbox.controllers.workloads import condition, set_condition
from streamops_sandbox.objects import Object

_NAME = "default-scheduler"


class Scheduler(Controller):
    """Binds what waits for a node, or says in the pod's conditions why it cannot."""

    def __init__(self, client: Client) -> None:
        super().__init__(client, _NAME)
        self._pods = self.watch(client.informer("v1", "Pod"))
        self._nodes = self.watch(client.informer("v1", "Node"), self._waiting_pods)

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Bind a pod, if it waits for that."""
        pod = self._pods.get(name, namespace)
        if pod is None or not _waits(pod):
            return
        nodes = self._nodes.list()
        reasons = []
        for node in nodes:
            reason = _unfit(pod, node)
            if reason is None:
                await self._bind(pod, node["metadata"]["name"])
                return
            reasons.append(reason)
        counted = [f"{reasons.count(reason)} {reason}" for reason in sorted(set(reasons))]
        text = f"0/{len(nodes)} nodes are available: {', '.join(counted) or 'no nodes'}."
        await self._unschedulable(pod, text)

    def _waiting_pods(self, _: Object) -> list[Key]:
        return [key_of(pod) for pod in self._pods.list() if _waits(pod)]

    async def _bind(self, pod: Object, node: str) -> None:
        metadata = pod["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": metadata["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self.client.create_subresource(pod, "binding", binding)
        message = f"Successfully assigned {namespace}/{name} to {node}"
        self.events.record(pod, "Normal", "Scheduled", message)

    async def _unschedulable(self, pod: Object, message: str) -> None:
        if condition(pod, "PodScheduled").get("message") == message:
            return
        conditions = copy.deepcopy(pod.get("status", {}).get("conditions") or [])
        set_condition(conditions, "PodScheduled", "False", "Unschedulable", message)
        change = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": {"conditions": conditions}}
        await self.client.patch(pod, change, subresource="status")
        self.events.record(pod, "Warning", "FailedScheduling", message)


def _waits(pod: Object) -> bool:
    spec = pod["spec"]
    return (
        not spec.get("nodeName")
        and not pod["metadata"].get("deletionTimestamp")
        and spec.get("schedulerName", _NAME) == _NAME
    )


def _unfit(pod: Object, node: Object) -> str | None:
    if names := _not_modelled(pod["spec"]):
        return f"node(s) do not model {', '.join(names)}"
    labels = node["metadata"].get("labels") or {}
    selector = pod["spec"].get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        return "node(s) didn't match Pod's node affinity/selector"
    if node["spec"].get("unschedulable"):
        return "node(s) were unschedulable"
    for taint in node["spec"].get("taints") or []:
        if taint["effect"] != "PreferNoSchedule":
            return f"node(s) had untolerated taint(s) {{{taint['key']}: {taint.get('value', '')}}}"
    return None


def _not_modelled(spec: Object) -> list[str]:
    """Return what a pod asks for that the node agent does not do."""
    refused = ("activeDeadlineSeconds", "initContainers", "readinessGates", "schedulingGates")
    found = [name for name in refused if spec.get(name)]
    for container in spec["containers"]:
        if "postStart" in (container.get("lifecycle") or {}):
            found.append("lifecycle.postStart")
        probes = ("livenessProbe", "readinessProbe", "startupProbe")
        found += [f"{name}.exec" for name in probes if "exec" in container.get(name, ())]
    return found
