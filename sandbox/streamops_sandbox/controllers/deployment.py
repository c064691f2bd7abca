"""Deployments: from one pod template to the next by ReplicaSets.

Contract: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/ ; reasons and
messages are kube-controller-manager's. Proportional scaling in the middle of a rollout is left to
the rolling update itself.
"""

from __future__ import annotations

import copy
from datetime import UTC, datetime

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Controller, Key, owner_reference
from streamops_sandbox.controllers.workloads import (
    claim,
    condition,
    is_active,
    owned,
    resolve_percent,
    set_condition,
    template_hash,
    write_status,
)
from streamops_sandbox.events import EventRecorder
from streamops_sandbox.objects import Object
from streamops_sandbox.timestamps import now, parse

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
_NOT_COPIED = {"kubectl.kubernetes.io/last-applied-configuration", REVISION}


class DeploymentController(Controller):
    """Rolls Deployments out."""

    # Who writes a Deployment often writes it again at once.
    settle_seconds = 0.025

    def __init__(self, client: Client, events: EventRecorder) -> None:
        super().__init__(client)
        self._events = events
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
        if deployment["spec"].get("paused"):
            await self._scale_paused(deployment, sets, new)
        else:
            old = [one for one in sets if new is None or _uid(one) != _uid(new)]
            if deployment["spec"].get("strategy", {}).get("type") == "Recreate":
                await self._recreate(deployment, new, old)
            else:
                await self._roll(deployment, new, old)
        sets = owned(self._sets, deployment)
        new = _find_new(deployment, sets)
        await self._write_status(deployment, sets, new)
        await self._clean_up(deployment, sets, new)

    def _deployment_of_pod(self, pod: Object) -> list[Key]:
        if is_active(pod):
            return []
        namespace = pod["metadata"]["namespace"]
        keys: list[Key] = []
        for reference in pod["metadata"].get("ownerReferences") or []:
            replica_set = self._sets.get(reference["name"], namespace)
            for owner in (replica_set or {"metadata": {}})["metadata"].get("ownerReferences") or []:
                keys.append((namespace, owner["name"]))
        return keys

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
        """Take pods from old ReplicaSets: those that do not work, then as many as may be missing."""
        old = [one for one in old if _replicas(one)]
        old.sort(key=lambda one: one["metadata"]["creationTimestamp"])
        total = _replicas(new) + sum(map(_replicas, old))
        room = total - min_available - (_replicas(new) - _available(new))
        spare = sum(map(_available, [new, *old])) - min_available
        targets = []
        for one in old:
            broken = min(max(room, 0), _replicas(one) - _available(one))
            room -= broken
            targets.append(_replicas(one) - broken)
        for one, target in zip(old, targets, strict=True):
            taken = min(max(spare, 0), target)
            spare -= taken
            await self._scale(deployment, one, target - taken)

    async def _recreate(self, deployment: Object, new: Object | None, old: list[Object]) -> None:
        for one in old:
            await self._scale(deployment, one, 0)
        uids = set(map(_uid, old))
        for pod in self._pods.list(deployment["metadata"]["namespace"]):
            references = pod["metadata"].get("ownerReferences") or []
            ended = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
            if not ended and uids & {reference["uid"] for reference in references}:
                return  # the old pods have to be gone first
        new = new or await self._create_new(deployment, old, replicas=0)
        await self._scale(deployment, new, _replicas(deployment))

    async def _scale_paused(
        self, deployment: Object, sets: list[Object], new: Object | None
    ) -> None:
        """Follow `replicas` with the ReplicaSet in use; the template is not rolled out."""
        active = [one for one in sets if _replicas(one)]
        target = active[0] if len(active) == 1 else (new if not active else None)
        if target is not None:
            await self._scale(deployment, target, _replicas(deployment))

    # -- ReplicaSets -----------------------------------------------------------------------------

    async def _create_new(
        self, deployment: Object, old: list[Object], replicas: int | None = None
    ) -> Object:
        wanted = _replicas(deployment)
        if replicas is None:
            surge, _ = _limits(deployment)
            room = wanted + surge - sum(_replicas(one) for one in old)
            replicas = min(wanted, max(room, 0))
        replica_set = _new_replica_set(deployment, replicas, _revision(old) + 1)
        name = replica_set["metadata"]["name"]
        created = await self.client.create(replica_set)
        message = f"Scaled up replica set {name} from 0 to {replicas}"
        self._events.record(deployment, "Normal", "ScalingReplicaSet", message)
        await self._annotate(deployment, str(_revision(old) + 1))
        return created

    async def _scale(self, deployment: Object, replica_set: Object, target: int) -> Object:
        before, metadata = _replicas(replica_set), replica_set["metadata"]
        change: Object = {}
        if _find_new(deployment, [replica_set]) is not None:
            owned_sets = owned(self._sets, deployment)
            siblings = [one for one in owned_sets if _uid(one) != _uid(replica_set)]
            newest = max(_revision(siblings) + 1, 1)
            if _revision([replica_set]) < newest:  # an earlier template is wanted again
                change["metadata"] = {"annotations": {REVISION: str(newest)}}
                await self._annotate(deployment, str(newest))
            min_ready = deployment["spec"].get("minReadySeconds", 0)
            if replica_set["spec"].get("minReadySeconds", 0) != min_ready:
                change["spec"] = {"minReadySeconds": min_ready}
        if before != target:
            change["spec"] = {**change.get("spec", {}), "replicas": target}
        if not change:
            return replica_set
        changed = await self.client.patch(replica_set, change)
        if before != target:
            direction = "up" if target > before else "down"
            message = f"Scaled {direction} replica set {metadata['name']} from {before} to {target}"
            self._events.record(deployment, "Normal", "ScalingReplicaSet", message)
        return changed

    async def _annotate(self, deployment: Object, revision: str) -> None:
        if (deployment["metadata"].get("annotations") or {}).get(REVISION) != revision:
            await self.client.patch(deployment, {"metadata": {"annotations": {REVISION: revision}}})

    async def _clean_up(self, deployment: Object, sets: list[Object], new: Object | None) -> None:
        """Delete the oldest ReplicaSets beyond the history limit."""
        limit = deployment["spec"].get("revisionHistoryLimit", 10)
        old = [
            one
            for one in sets
            if (new is None or _uid(one) != _uid(new))
            and not _replicas(one)
            and not one.get("status", {}).get("replicas")
            and not one["metadata"].get("deletionTimestamp")
        ]
        old.sort(key=lambda one: _revision([one]))
        for one in old[: max(0, len(old) - limit)]:
            await self.client.delete(one, "Background")

    # -- status ----------------------------------------------------------------------------------

    async def _write_status(
        self, deployment: Object, sets: list[Object], new: Object | None
    ) -> None:
        def total(field: str) -> int:
            return sum(one.get("status", {}).get(field, 0) for one in sets)

        before = deployment.get("status", {})
        counts = {
            "replicas": total("replicas"),
            "updatedReplicas": (new or {}).get("status", {}).get("replicas", 0),
            "readyReplicas": total("readyReplicas"),
            "availableReplicas": total("availableReplicas"),
            "unavailableReplicas": max(
                0, sum(_replicas(one) for one in sets) - total("availableReplicas")
            ),
        }
        status: Object = {key: value for key, value in counts.items() if value}
        status["observedGeneration"] = deployment["metadata"].get("generation", 1)
        status["terminatingReplicas"] = total("terminatingReplicas")
        conditions = copy.deepcopy(before.get("conditions") or [])
        if deployment["spec"].get("paused"):  # is told before anything else
            self._set_progressing(deployment, counts, new, conditions)
        self._set_available(deployment, counts, conditions)
        if not deployment["spec"].get("paused"):
            self._set_progressing(deployment, counts, new, conditions)
        failures = [found for one in sets if (found := condition(one, "ReplicaFailure"))]
        conditions = [entry for entry in conditions if entry["type"] != "ReplicaFailure"]
        if failures:
            conditions.append({**failures[0], "lastUpdateTime": failures[0]["lastTransitionTime"]})
        status["conditions"] = conditions
        await write_status(self.client, deployment, status)

    def _set_available(
        self, deployment: Object, counts: dict[str, int], conditions: list[Object]
    ) -> None:
        _, unavailable = _limits(deployment)
        enough = counts["availableReplicas"] >= _replicas(deployment) - unavailable
        known = condition(deployment, "Available")
        same = known.get("status") == ("True" if enough else "False")
        reason = "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable"
        verb = "has" if enough else "does not have"
        set_condition(
            conditions,
            "Available",
            "True" if enough else "False",
            reason,
            f"Deployment {verb} minimum availability.",
            lastUpdateTime=known["lastUpdateTime"] if same else now(),
        )

    def _set_progressing(
        self,
        deployment: Object,
        counts: dict[str, int],
        new: Object | None,
        conditions: list[Object],
    ) -> None:
        spec = deployment["spec"]
        deadline = spec.get("progressDeadlineSeconds")
        if deadline is None or deadline == 2**31 - 1:
            return
        known = condition(deployment, "Progressing")
        if spec.get("paused"):
            text = ("Unknown", "DeploymentPaused", "Deployment is paused")
            self._progressing(conditions, known, *text)
            return
        if new is None:
            return
        name = new["metadata"]["name"]
        wanted = _replicas(deployment)
        complete = (
            counts["updatedReplicas"] == wanted
            and counts["replicas"] == wanted
            and counts["availableReplicas"] == wanted
            and new.get("status", {}).get("observedGeneration", 0)
            >= new["metadata"].get("generation", 1)
        )
        if complete:
            message = f'ReplicaSet "{name}" has successfully progressed.'
            self._progressing(conditions, known, "True", "NewReplicaSetAvailable", message)
            return
        if _progressed(deployment, counts) or not known or _other_set(known, name):
            reason = "ReplicaSetUpdated" if known else "NewReplicaSetCreated"
            verb = "is progressing." if known else ""
            message = (
                f'ReplicaSet "{name}" {verb}' if known else f'Created new replica set "{name}"'
            )
            self._progressing(conditions, known, "True", reason, message, renew=True)
            self.come_again(deployment, [deadline + 1])
            return
        if known["reason"] in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
            return  # pods that fail after a complete rollout are no failed rollout
        left = deadline - (datetime.now(UTC) - parse(known["lastUpdateTime"])).total_seconds()
        if left > 0:
            self.come_again(deployment, [left])
            return
        message = f'ReplicaSet "{name}" has timed out progressing.'
        self._progressing(conditions, known, "False", "ProgressDeadlineExceeded", message)

    def _progressing(
        self,
        conditions: list[Object],
        known: Object,
        status: str,
        reason: str,
        message: str,
        *,
        renew: bool = False,
    ) -> None:
        same = known.get("reason") == reason and known.get("message") == message
        updated = known["lastUpdateTime"] if same and not renew else now()
        set_condition(conditions, "Progressing", status, reason, message, lastUpdateTime=updated)


def _progressed(deployment: Object, counts: dict[str, int]) -> bool:
    """Whether the rollout came closer to its end since the last status."""
    before = deployment.get("status", {})
    old_before: int = before.get("replicas", 0) - before.get("updatedReplicas", 0)
    return bool(
        counts["updatedReplicas"] > before.get("updatedReplicas", 0)
        or counts["replicas"] - counts["updatedReplicas"] < old_before
        or counts["readyReplicas"] > before.get("readyReplicas", 0)
        or counts["availableReplicas"] > before.get("availableReplicas", 0)
    )


def _other_set(known: Object, name: str) -> bool:
    """Whether the Progressing condition speaks of another ReplicaSet than the wanted one."""
    return f'"{name}"' not in known.get("message", "")


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
    made: Object = {
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
    if min_ready := spec.get("minReadySeconds"):
        made["spec"]["minReadySeconds"] = min_ready
    return made


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
    count: int = replica_set.get("status", {}).get("availableReplicas", 0)
    return count


def _uid(obj: Object) -> str:
    uid: str = obj["metadata"]["uid"]
    return uid
