"""Deleting: graceful periods, finalizers, propagation, preconditions.

https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from typing import Any

from streamops_sandbox.kube import clock, conversion, crds, errors
from streamops_sandbox.kube.api import Api, Review, Write
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.objects import Objects
from streamops_sandbox.kube.resources import Resource
from streamops_sandbox.kube.store import Stored

Json = dict[str, Any]

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
_POLICIES = ("Foreground", "Background", "Orphan")
_POD_GRACE = 30


class Deletion:
    """Deletes objects of one server."""

    def __init__(self, api: Api, objects: Objects) -> None:
        self._api = api
        self._objects = objects

    async def delete(
        self, resource: Resource, namespace: str, name: str, options: Json, write: Write
    ) -> tuple[int, Json]:
        """Delete one object; returns the HTTP code and the answer's body."""
        check_options(options)
        stored = self._api.require(resource, namespace, name)
        self._check_preconditions(stored, resource, options)
        old = conversion.read(stored, resource)
        review = Review(resource, "DELETE", namespace, name, None, old, write, options)
        await self._objects.review_deletion(review)
        current = self._api.collection(resource).get(namespace, name)
        if current is None:
            raise errors.not_found(resource.group, resource.plural, name)
        obj = current.load()
        grace = _grace_seconds(resource, obj, options)
        finalizers = _finalizers(
            obj["metadata"], options, definition=resource.collection == crds.COLLECTION
        )
        waits = bool(finalizers) or grace > 0 or bool((obj.get("spec") or {}).get("finalizers"))
        if not waits:
            if not write.dry_run:
                self._objects.remove(resource, namespace, name)
            return 200, self._deleted(resource, obj)
        if self._mark(obj, finalizers, grace, resource) and not write.dry_run:
            stored = self._api.store.put(resource.collection, obj)
            self._api.strategy(resource).written(obj, old, self._api)
            return 200, conversion.read(stored, resource)
        return 200, obj

    def _deleted(self, resource: Resource, obj: Json) -> Json:
        """Return what answers the deletion of an object that is gone."""
        if not self._api.strategy(resource).returns_deleted:
            return _success(resource, obj)
        if resource.collection == "pods":
            obj["metadata"]["generation"] = obj["metadata"].get("generation", 0) + 1
            obj["metadata"] |= {"deletionTimestamp": clock.now(), "deletionGracePeriodSeconds": 0}
        return obj

    def _mark(self, obj: Json, finalizers: list[str], grace: int, resource: Resource) -> bool:
        """Put the deletion's marks on the object, in place; returns whether it changed."""
        metadata = obj["metadata"]
        before = dict(metadata)
        if finalizers:
            metadata["finalizers"] = finalizers
        else:
            metadata.pop("finalizers", None)
        if not metadata.get("deletionTimestamp"):
            metadata["deletionTimestamp"] = clock.after(grace)
            metadata["deletionGracePeriodSeconds"] = grace
            if self._api.strategy(resource).tracks_generation:
                metadata["generation"] = metadata.get("generation", 0) + 1
        elif grace < metadata.get("deletionGracePeriodSeconds", 0):
            metadata["deletionTimestamp"] = clock.after(grace)
            metadata["deletionGracePeriodSeconds"] = grace
        if resource.collection == "namespaces":
            metadata.pop("deletionGracePeriodSeconds", None)
            obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
        if resource.collection == crds.COLLECTION and "deletionTimestamp" not in before:
            crds.mark_deleted(obj)
        return bool(before != metadata)

    @staticmethod
    def _check_preconditions(stored: Stored, resource: Resource, options: Json) -> None:
        wanted = options.get("preconditions") or {}
        uid = wanted.get("uid")
        if uid and uid != stored.uid:
            raise errors.conflict(
                resource.group,
                resource.kind,
                stored.name,
                f"the UID in the precondition ({uid}) does not match the UID in record ({stored.uid}). "
                "The object might have been deleted and then recreated",
            )
        version = wanted.get("resourceVersion")
        if version and version != str(stored.revision):
            raise errors.conflict(
                resource.group,
                resource.kind,
                stored.name,
                f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in "
                f"record ({stored.revision}). The object might have been modified",
            )


def check_options(options: Json) -> None:
    """Refuse delete options that contradict; raises a 422."""
    policy = options.get("propagationPolicy")
    found, field = Causes(), "propagationPolicy"
    if policy is not None and policy not in _POLICIES:
        found.unsupported(field, policy, (*_POLICIES, "nil"))
    if policy is not None and options.get("orphanDependents") is not None:
        why = "orphanDependents and deletionPropagation cannot be both set"
        found.invalid(field, policy, why)
    if found:
        raise errors.invalid("meta.k8s.io", "DeleteOptions", "", found)


def _finalizers(metadata: Json, options: Json, *, definition: bool) -> list[str]:
    """The object's finalizers with the garbage collector's added or removed as asked."""
    present: list[str] = list(metadata.get("finalizers") or [])
    if definition and crds.CLEANUP not in present:
        present.append(crds.CLEANUP)
    policy = options.get("propagationPolicy")
    if options.get("orphanDependents") is True:
        policy = "Orphan"
    elif options.get("orphanDependents") is False:
        policy = "Background"
    if policy is None:
        return present
    kept = [name for name in present if name not in (ORPHAN, FOREGROUND)]
    if policy == "Orphan":
        kept.append(ORPHAN)
    elif policy == "Foreground":
        kept.append(FOREGROUND)
    return kept


def _grace_seconds(resource: Resource, obj: Json, options: Json) -> int:
    """Only pods that run somewhere get time to end."""
    if resource.collection != "pods":
        return 0
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    asked = options.get("gracePeriodSeconds")
    if asked is None or asked < 0:
        asked = spec.get("terminationGracePeriodSeconds", _POD_GRACE)
    return int(asked)


def _success(resource: Resource, obj: Json) -> Json:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {
            key: value
            for key, value in {
                "name": obj["metadata"]["name"],
                "group": resource.group,
                "kind": resource.plural,
                "uid": obj["metadata"].get("uid", ""),
            }.items()
            if value
        },
    }
