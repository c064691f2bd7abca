"""StatefulSets: pods with names that stay, one after another.

Volume claim templates are refused with an event: there is no storage provisioner here.
"""

from __future__ import annotations

import copy
import re

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Controller
from streamops_sandbox.controllers.workloads import (
    REVISION_HASH,
    claim,
    delete_pods,
    is_active,
    is_ready,
    pod_from,
    template_hash,
    unavailable_for,
    write_status,
)
from streamops_sandbox.events import EventRecorder
from streamops_sandbox.objects import Object

NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"
_ORDINAL = re.compile(r"-(\d+)$")


class StatefulSetController(Controller):
    """Creates pods in order, deletes and updates them in reverse order."""

    def __init__(self, client: Client, events: EventRecorder) -> None:
        super().__init__(client)
        self._events = events
        self._sets = self.watch(client.informer("apps/v1", "StatefulSet"))
        self._pods = self.watch_owned(client.informer("v1", "Pod"), "StatefulSet")

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Reconcile a StatefulSet."""
        stateful_set = self._sets.get(name, namespace)
        if stateful_set is None or stateful_set["metadata"].get("deletionTimestamp"):
            return
        if stateful_set["spec"].get("volumeClaimTemplates"):
            message = "volumeClaimTemplates are not supported: the sandbox provisions no storage"
            self._events.record(stateful_set, "Warning", "FailedCreate", message)
            return
        digest = template_hash(stateful_set["spec"]["template"])
        pods = await self._claimed(stateful_set)
        await self._step(stateful_set, pods, digest)
        await self._write_status(stateful_set, await self._claimed(stateful_set), digest)

    async def _claimed(self, stateful_set: Object) -> dict[int, Object]:
        pods = await claim(self.client, self._pods, stateful_set)
        return {_ordinal(pod): pod for pod in pods}

    async def _step(self, stateful_set: Object, pods: dict[int, Object], digest: str) -> None:
        """Do what may be done now; the pods' changes bring the next step."""
        spec = stateful_set["spec"]
        parallel = spec.get("podManagementPolicy") == "Parallel"
        start = (spec.get("ordinals") or {}).get("start", 0)
        wanted = range(start, start + spec.get("replicas", 1))
        for ordinal in wanted:
            pod = pods.get(ordinal)
            if pod is not None and pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
                await delete_pods(self.client, [pod])
            elif pod is None:
                await self._create(stateful_set, ordinal, digest)
            if not parallel and not (pod and self._available(stateful_set, pod)):
                return
        surplus = [pods[ordinal] for ordinal in sorted(pods, reverse=True) if ordinal not in wanted]
        leaving = [pod for pod in surplus if pod["metadata"].get("deletionTimestamp")]
        if parallel:
            await delete_pods(self.client, [pod for pod in surplus if pod not in leaving])
        elif surplus:
            if not leaving:
                await delete_pods(self.client, surplus[:1])
            return
        await self._update(stateful_set, pods, wanted, digest)

    async def _update(
        self, stateful_set: Object, pods: dict[int, Object], wanted: range, digest: str
    ) -> None:
        """Delete the highest pod of an older template, once the ones above it are available."""
        strategy = stateful_set["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return
        partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
        for ordinal in reversed(wanted):
            pod = pods.get(ordinal)
            if ordinal < partition or pod is None:
                return
            if pod["metadata"]["labels"].get(REVISION_HASH) != digest:
                if is_active(pod):
                    await delete_pods(self.client, [pod])
                return
            if not self._available(stateful_set, pod):
                return

    async def _create(self, stateful_set: Object, ordinal: int, digest: str) -> None:
        name = f"{stateful_set['metadata']['name']}-{ordinal}"
        pod = pod_from(copy.deepcopy(stateful_set["spec"]["template"]), stateful_set, name=name)
        pod["metadata"].setdefault("labels", {}).update(
            {REVISION_HASH: digest, NAME_LABEL: name, INDEX_LABEL: str(ordinal)}
        )
        pod["spec"]["hostname"] = name
        pod["spec"]["subdomain"] = stateful_set["spec"].get("serviceName", "")
        await self.client.create(pod)
        message = f"create Pod {name} in StatefulSet {stateful_set['metadata']['name']} successful"
        self._events.record(stateful_set, "Normal", "SuccessfulCreate", message)

    def _available(self, stateful_set: Object, pod: Object) -> bool:
        if not is_active(pod):
            return False
        wait = unavailable_for(pod, stateful_set["spec"].get("minReadySeconds", 0))
        self.come_again(stateful_set, [wait])
        return wait == 0

    async def _write_status(
        self, stateful_set: Object, pods: dict[int, Object], digest: str
    ) -> None:
        metadata, spec = stateful_set["metadata"], stateful_set["spec"]
        active = [pod for pod in pods.values() if is_active(pod)]
        revision = f"{metadata['name']}-{digest}"
        updated = [pod for pod in active if pod["metadata"]["labels"].get(REVISION_HASH) == digest]
        all_new = len(updated) == len(active) == spec.get("replicas", 1)
        current = stateful_set.get("status", {}).get("currentRevision") or revision
        if all_new:
            current = revision
        status: Object = {
            "observedGeneration": metadata.get("generation", 1),
            "replicas": len(pods),
            "availableReplicas": sum(self._available(stateful_set, pod) for pod in active),
            "currentRevision": current,
            "updateRevision": revision,
            "collisionCount": 0,
        }
        optional = {
            "readyReplicas": sum(is_ready(pod) for pod in active),
            "updatedReplicas": len(updated),
            "currentReplicas": len(active) if all_new else len(active) - len(updated),
        }
        status |= {key: value for key, value in optional.items() if value}
        await write_status(self.client, stateful_set, status)


def _ordinal(pod: Object) -> int:
    match = _ORDINAL.search(pod["metadata"]["name"])
    return int(match[1]) if match else -1
