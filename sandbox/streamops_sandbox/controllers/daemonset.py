"""DaemonSets: one pod on every node that fits."""

from __future__ import annotations

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Controller, key_of
from streamops_sandbox.controllers.workloads import (
    REVISION_HASH,
    claim,
    create_pods,
    delete_pods,
    is_active,
    is_ready,
    pod_from,
    resolve_percent,
    template_hash,
    unavailable_for,
    write_status,
)
from streamops_sandbox.events import EventRecorder
from streamops_sandbox.objects import Object

_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)


class DaemonSetController(Controller):
    """Keeps DaemonSets' pods; updates them in place, one after another."""

    def __init__(self, client: Client, events: EventRecorder) -> None:
        super().__init__(client)
        self._events = events
        self._sets = self.watch(client.informer("apps/v1", "DaemonSet"))
        self._pods = self.watch_owned(client.informer("v1", "Pod"), "DaemonSet")
        nodes = client.informer("v1", "Node")
        self._nodes = self.watch(nodes, lambda _: map(key_of, self._sets.list()))

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Reconcile a DaemonSet."""
        daemon_set = self._sets.get(name, namespace)
        if daemon_set is None or daemon_set["metadata"].get("deletionTimestamp"):
            return
        digest = template_hash(daemon_set["spec"]["template"])
        nodes = [node["metadata"]["name"] for node in self._nodes.list() if _fits(daemon_set, node)]
        pods = await claim(self.client, self._pods, daemon_set)
        await self._place(daemon_set, pods, nodes, digest)
        strategy = daemon_set["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") == "RollingUpdate":
            await self._roll(daemon_set, pods, strategy.get("rollingUpdate") or {}, digest)
        pods = await claim(self.client, self._pods, daemon_set)
        await self._write_status(daemon_set, pods, nodes, digest)

    async def _place(
        self, daemon_set: Object, pods: list[Object], nodes: list[str], digest: str
    ) -> None:
        """Create what is missing; delete what is too much or has ended."""
        ended = [
            pod for pod in pods if pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
        ]
        surplus = [pod for pod in pods if _node_of(pod) not in nodes]
        await delete_pods(self.client, [pod for pod in [*ended, *surplus] if not _leaving(pod)])
        occupied = {_node_of(pod) for pod in pods if pod not in ended}
        new = [_new_pod(daemon_set, node, digest) for node in nodes if node not in occupied]
        failure = await create_pods(self.client, self._events, daemon_set, new)
        if failure is not None:
            raise failure

    async def _roll(
        self, daemon_set: Object, pods: list[Object], rolling: Object, digest: str
    ) -> None:
        """Delete pods of an older template, no more at once than may be unavailable."""
        allowed = resolve_percent(rolling.get("maxUnavailable", 1), len(pods), up=True) or 1
        old = [
            pod
            for pod in pods
            if (pod["metadata"].get("labels") or {}).get(REVISION_HASH) != digest and is_active(pod)
        ]
        broken = [pod for pod in old if not is_ready(pod)]
        working = [pod for pod in old if is_ready(pod)]
        unavailable = sum(not is_ready(pod) or _leaving(pod) for pod in pods)
        await delete_pods(self.client, [*broken, *working[: max(0, allowed - unavailable)]])

    async def _write_status(
        self, daemon_set: Object, pods: list[Object], nodes: list[str], digest: str
    ) -> None:
        metadata, spec = daemon_set["metadata"], daemon_set["spec"]
        placed = [pod for pod in pods if _node_of(pod) in nodes and is_active(pod)]
        waits = [unavailable_for(pod, spec.get("minReadySeconds", 0)) for pod in placed]
        available = sum(wait == 0 for wait in waits)
        status: Object = {
            "currentNumberScheduled": len(placed),
            "numberMisscheduled": sum(_node_of(pod) not in nodes for pod in pods),
            "desiredNumberScheduled": len(nodes),
            "numberReady": sum(is_ready(pod) for pod in placed),
            "observedGeneration": metadata.get("generation", 1),
        }
        optional = {
            "updatedNumberScheduled": sum(
                (pod["metadata"].get("labels") or {}).get(REVISION_HASH) == digest for pod in placed
            ),
            "numberAvailable": available,
            "numberUnavailable": len(nodes) - available,
        }
        status |= {key: value for key, value in optional.items() if value}
        await write_status(self.client, daemon_set, status)
        self.come_again(daemon_set, waits)


def _new_pod(daemon_set: Object, node: str, digest: str) -> Object:
    """Return a pod that only fits on one node, as the DaemonSet controller makes it."""
    name = daemon_set["metadata"]["name"]
    pod = pod_from(daemon_set["spec"]["template"], daemon_set, generateName=f"{name}-")
    pod["metadata"].setdefault("labels", {})[REVISION_HASH] = digest
    pod["spec"].setdefault("tolerations", []).extend(
        {"key": key, "operator": "Exists", "effect": effect} for key, effect in _TOLERATED
    )
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"nodeSelectorTerms": [term]}
    affinity = pod["spec"].setdefault("affinity", {}).setdefault("nodeAffinity", {})
    affinity["requiredDuringSchedulingIgnoredDuringExecution"] = required
    return pod


def _node_of(pod: Object) -> str:
    """Return the node a pod runs on, or is meant for."""
    if name := pod["spec"].get("nodeName"):
        return str(name)
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or []:
        for entry in term.get("matchFields") or []:
            return str(entry["values"][0])
    return ""


def _fits(daemon_set: Object, node: Object) -> bool:
    selector = daemon_set["spec"]["template"]["spec"].get("nodeSelector") or {}
    labels = node["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in selector.items())


def _leaving(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))
