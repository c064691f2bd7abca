"""Deployments: from one pod template to the next by ReplicaSets.

Contract: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/ ; reasons and
messages are kube-controller-manager's. Proportional scaling in the middle of a rollout is left to
the rolling update itself. Of a paused Deployment only the status is kept.
"""

from __future__ import annotations

import copy
from datetime import UTC, datetime

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Controller, Key, controller_of, owner_reference
from streamops_sandbox.controllers.workloads import (
    claim,
    condition,
    has_ended,
    is_active,
    owned,
    resolve_percent,
    set_condition,
    template_hash,
    without_zeros,
    write_status,
)
from streamops_sandbox.objects import Object
from streamops_sandbox.timestamps import now, parse

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
_NOT_COPIED = {"kubectl.kubernetes.io/last-applied-configuration", REVISION}


class DeploymentController(Controller):
    """Rolls Deployments out."""

    # Who writes a Deployment often writes it again at once.
    settle_seconds = 0.025

    def __init__(self, client: Client) -> None:
        super().__init__(client, "deployment-controller")
        self._deployments = self.watch(client.informer("apps/v1", "Deployment"))
        self._sets = self.watch_owned(client.informer("apps/v1", "ReplicaSet"), "Deployment")
        # A Recreate rollout waits for the old pods' end.
        self._pods = self.watch(client.informer("v1", "Pod"), self._deployment_of_pod)

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Reconcile a Deployment."""
        deployment = self._deployments.get(name, namespace)
        if deployment is None or deployment["metadata"].get("deletionTimestamp"):
            return
        sets = await claim(self.client, self._sets, deployment)
        new = _find_new(deployment, sets)
        old = [one for one in sets if one is not new]
        if deployment["spec"].get("paused"):
            if sets and sum(map(_replicas, sets)) != _replicas(deployment):
                message = "not supported by the sandbox: scaling a paused Deployment"
                self.events.record(deployment, "Warning", "Unsupported", message)
        elif deployment["spec"].get("strategy", {}).get("type") == "Recreate":
            await self._recreate(deployment, new, old)
        else:
            await self._roll(deployment, new, old)
        sets = owned(self._sets, deployment)
        new = _find_new(deployment, sets)
        await self._write_status(deployment, sets, new)

    def _deployment_of_pod(self, pod: Object) -> list[Key]:
        namespace, owner = pod["metadata"]["namespace"], controller_of(pod)
        if is_active(pod) or owner is None:
            return []
        replica_set = self._sets.get(owner["name"], namespace)
        deployment = controller_of(replica_set) if replica_set else None
        return [(namespace, deployment["name"])] if deployment else []

    # -- strategies ----------------------------------------------------------------------------

    async def _roll(self, deployment: Object, new: Object | None, old: list[Object]) -> None:
        new = new or await self._create_new(deployment, old)
        wanted = _replicas(deployment)
        surge, unavailable = _limits(deployment)
        total = _replicas(new) + sum(_replicas(one) for one in old)
        if _replicas(new) != wanted:
            room = wanted + surge - total
            up = min(max(room, 0), wanted - _replicas(new))
            target = wanted if _replicas(new) > wanted else _replicas(new) + up
            new = await self._scale(deployment, new, target)
        await self._scale_down_old(deployment, new, old, wanted - unavailable)

    async def _scale_down_old(
        self, deployment: Object, new: Object, old: list[Object], min_available: int
    ) -> None:
        """Take pods from old ReplicaSets: those that do not work, and as many as may be missing."""
        every = [new, *old]
        room = sum(map(_replicas, every)) - min_available - _replicas(new) + _available(new)
        spare = sum(map(_available, every)) - min_available
        for one in sorted(old, key=lambda one: one["metadata"]["creationTimestamp"]):
            broken = min(max(room, 0), _replicas(one) - _available(one))
            taken = min(max(spare, 0), _available(one))
            room, spare = room - broken, spare - taken
            await self._scale(deployment, one, _replicas(one) - broken - taken)

    async def _recreate(self, deployment: Object, new: Object | None, old: list[Object]) -> None:
        for one in old:
            await self._scale(deployment, one, 0)
        if any(not has_ended(pod) for one in old for pod in owned(self._pods, one)):
            return  # the old pods have to be gone first
        new = new or await self._create_new(deployment, old, replicas=0)
        await self._scale(deployment, new, _replicas(deployment))

    # -- ReplicaSets -----------------------------------------------------------------------------

    async def _create_new(
        self, deployment: Object, old: list[Object], replicas: int | None = None
    ) -> Object:
        if replicas is None:
            wanted, (surge, _) = _replicas(deployment), _limits(deployment)
            replicas = min(wanted, max(wanted + surge - sum(map(_replicas, old)), 0))
        replica_set = _new_replica_set(deployment, replicas, _revision(old) + 1)
        created = await self.client.create(replica_set)
        self._scaled(deployment, created, 0)
        await self._annotate(deployment, str(_revision(old) + 1))
        return created

    async def _scale(self, deployment: Object, replica_set: Object, target: int) -> Object:
        before = _replicas(replica_set)
        change: Object = {} if before == target else {"spec": {"replicas": target}}
        if _find_new(deployment, [replica_set]) is not None:
            uid = replica_set["metadata"]["uid"]
            others = [one for one in owned(self._sets, deployment) if one["metadata"]["uid"] != uid]
            newest = _revision(others) + 1
            if _revision([replica_set]) < newest:  # an earlier template is wanted again
                change["metadata"] = {"annotations": {REVISION: str(newest)}}
                await self._annotate(deployment, str(newest))
        if not change:
            return replica_set
        changed = await self.client.patch(replica_set, change)
        self._scaled(deployment, changed, before)
        return changed

    def _scaled(self, deployment: Object, replica_set: Object, before: int) -> None:
        name, target = replica_set["metadata"]["name"], _replicas(replica_set)
        if before != target:
            direction = "up" if target > before else "down"
            message = f"Scaled {direction} replica set {name} from {before} to {target}"
            self.events.record(deployment, "Normal", "ScalingReplicaSet", message)

    async def _annotate(self, deployment: Object, revision: str) -> None:
        if (deployment["metadata"].get("annotations") or {}).get(REVISION) != revision:
            await self.client.patch(deployment, {"metadata": {"annotations": {REVISION: revision}}})

    # -- status ----------------------------------------------------------------------------------

    async def _write_status(
        self, deployment: Object, sets: list[Object], new: Object | None
    ) -> None:
        def total(field: str) -> int:
            return sum(one.get("status", {}).get(field, 0) for one in sets)

        counts = {
            "replicas": total("replicas"),
            "updatedReplicas": (new or {}).get("status", {}).get("replicas", 0),
            "readyReplicas": total("readyReplicas"),
            "availableReplicas": total("availableReplicas"),
            "unavailableReplicas": max(0, sum(map(_replicas, sets)) - total("availableReplicas")),
        }
        status: Object = without_zeros(**counts)
        status["observedGeneration"] = deployment["metadata"].get("generation", 1)
        status["terminatingReplicas"] = total("terminatingReplicas")
        conditions = [
            entry
            for entry in copy.deepcopy(deployment.get("status", {}).get("conditions") or [])
            if entry["type"] != "ReplicaFailure"
        ]
        paused = bool(deployment["spec"].get("paused"))
        if paused != (condition(deployment, "Progressing").get("reason") == "DeploymentPaused"):
            reason = "DeploymentPaused" if paused else "DeploymentResumed"
            text = ("Unknown", reason, f"Deployment is {reason[10:].lower()}")
            set_condition(conditions, "Progressing", *text, lastUpdateTime=now())
        self._set_available(deployment, counts, conditions)
        if new is not None and not paused:
            self._set_progressing(deployment, counts, new, conditions)
        failures = [found for one in sets if (found := condition(one, "ReplicaFailure"))]
        if failures:
            conditions.append({**failures[0], "lastUpdateTime": failures[0]["lastTransitionTime"]})
        status["conditions"] = conditions
        await write_status(self.client, deployment, status)

    def _set_available(
        self, deployment: Object, counts: dict[str, int], conditions: list[Object]
    ) -> None:
        _, unavailable = _limits(deployment)
        if counts["availableReplicas"] >= _replicas(deployment) - unavailable:
            text = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        else:
            message = "Deployment does not have minimum availability."
            text = ("False", "MinimumReplicasUnavailable", message)
        known = condition(deployment, "Available")
        updated = known["lastUpdateTime"] if known.get("status") == text[0] else now()
        set_condition(conditions, "Available", *text, lastUpdateTime=updated)

    def _set_progressing(
        self, deployment: Object, counts: dict[str, int], new: Object, conditions: list[Object]
    ) -> None:
        known = condition(deployment, "Progressing")
        name, deadline = new["metadata"]["name"], deployment["spec"]["progressDeadlineSeconds"]
        seen = new.get("status", {}).get("observedGeneration", 0)
        fields = ("updatedReplicas", "replicas", "availableReplicas")
        complete = {counts[field] for field in fields} == {_replicas(deployment)}
        if complete and seen >= new["metadata"].get("generation", 1):
            message = f'ReplicaSet "{name}" has successfully progressed.'
            text = ("True", "NewReplicaSetAvailable", message)
        elif f'"{name}"' not in known.get("message", ""):
            text = ("True", "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.')
            self.come_again(deployment, deadline + 1)
        elif known["reason"] in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
            return  # pods that fail after a complete rollout are no failed rollout
        else:
            since = datetime.now(UTC) - parse(known["lastUpdateTime"])
            if (left := deadline - since.total_seconds()) > 0:
                self.come_again(deployment, left)
                return
            message = f'ReplicaSet "{name}" has timed out progressing.'
            text = ("False", "ProgressDeadlineExceeded", message)
        same = (known.get("reason"), known.get("message")) == text[1:]
        updated = known["lastUpdateTime"] if same else now()
        set_condition(conditions, "Progressing", *text, lastUpdateTime=updated)


def _find_new(deployment: Object, sets: list[Object]) -> Object | None:
    """Return the ReplicaSet of the Deployment's template, the oldest where there are several."""
    wanted = _template(deployment)
    for one in sorted(sets, key=lambda entry: entry["metadata"]["creationTimestamp"]):
        if _template(one) == wanted and not one["metadata"].get("deletionTimestamp"):
            return one
    return None


def _template(obj: Object) -> Object:
    template: Object = copy.deepcopy(obj["spec"]["template"])
    metadata = template.setdefault("metadata", {})
    (metadata.get("labels") or {}).pop(HASH_LABEL, None)
    metadata.pop("creationTimestamp", None)
    template["metadata"] = {key: value for key, value in metadata.items() if value}
    return template


def _new_replica_set(deployment: Object, replicas: int, revision: int) -> Object:
    digest = template_hash(_template(deployment))
    metadata, spec = deployment["metadata"], deployment["spec"]
    template = copy.deepcopy(spec["template"])
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    labels[HASH_LABEL] = digest
    selector = copy.deepcopy(spec["selector"])
    selector.setdefault("matchLabels", {})[HASH_LABEL] = digest
    copied = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if key not in _NOT_COPIED
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name']}-{digest}",
            "namespace": metadata["namespace"],
            "labels": dict(labels),
            "annotations": copied | {REVISION: str(revision)},
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    }


def _limits(deployment: Object) -> tuple[int, int]:
    """Return how many pods may be too many and how many may be missing during a rollout."""
    spec = deployment["spec"]
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0, 0
    rolling = strategy.get("rollingUpdate") or {}
    wanted = _replicas(deployment)
    surge = resolve_percent(rolling.get("maxSurge", "25%"), wanted, up=True)
    unavailable = resolve_percent(rolling.get("maxUnavailable", "25%"), wanted, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, wanted)


def _revision(sets: list[Object]) -> int:
    """Return the highest revision of some ReplicaSets, 0 without any."""
    revisions = (one["metadata"].get("annotations", {}).get(REVISION, "0") for one in sets)
    return max((int(revision) for revision in revisions), default=0)


def _replicas(obj: Object) -> int:
    replicas = obj["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def _available(replica_set: Object) -> int:
    """Return how many pods are available, without those that the status still counts but must go."""
    count: int = replica_set.get("status", {}).get("availableReplicas", 0)
    return min(count, _replicas(replica_set))
