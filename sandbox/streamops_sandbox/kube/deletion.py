"""Deleting: graceful periods, finalizers, propagation, preconditions.

https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from streamops_sandbox import timestamps
from streamops_sandbox.kube import conversion, crds, errors
from streamops_sandbox.kube.api import Review, Write
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.strategy import Strategy
from streamops_sandbox.kube.objects import Objects
from streamops_sandbox.kube.resources import Resource
from streamops_sandbox.kube.store import Stored
from streamops_sandbox.objects import Object

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
_POLICIES = ("Foreground", "Background", "Orphan")
_POD_GRACE = 30
#: Kinds whose dependents stay, for compatibility, unless the request says what happens to them.
_ORPHANING = ("jobs.batch", "replicationcontrollers")
_PROPAGATION = {"propagationPolicy", "orphanDependents"}
_KEPT_PODS = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to "
    "remove them or set propagationPolicy=Orphan to suppress this warning"
)


async def delete(objects: Objects, write: Write, options: Object) -> Object:
    """Delete one object; returns the answer's body."""
    api, resource, namespace, name = objects.api, write.resource, write.namespace, write.name
    check_options(options)
    stored = api.require(resource, namespace, name)
    _check_preconditions(stored, resource, options)
    old = conversion.read(stored, resource)
    await objects.review_deletion(
        Review(resource, "DELETE", namespace, name, None, old, write, options)
    )
    obj = api.require(resource, namespace, name).load()
    grace = _grace_seconds(resource, obj, options)
    if resource.collection in _ORPHANING and not options.keys() & _PROPAGATION:
        options = {**options, "propagationPolicy": "Orphan"}
        if resource.collection == "jobs.batch":
            write.warnings.append(_KEPT_PODS)
    is_definition = resource.collection == crds.COLLECTION
    finalizers = _finalizers(obj["metadata"], options, definition=is_definition)
    waits = bool(finalizers) or grace > 0 or bool((obj.get("spec") or {}).get("finalizers"))
    strategy = api.strategy(resource)
    if not waits:
        if not write.dry_run:
            objects.remove(resource, namespace, name)
        return _deleted(resource, obj, strategy)
    if _mark(obj, finalizers, grace, resource, strategy) and not write.dry_run:
        stored = api.store.put(resource.collection, obj)
        strategy.written(obj, old, api)
        return conversion.read(stored, resource)
    return obj


def _deleted(resource: Resource, obj: Object, strategy: Strategy) -> Object:
    """Return what answers the deletion of an object that is gone."""
    metadata = obj["metadata"]
    if not strategy.returns_deleted:
        details = {
            "name": metadata["name"], "group": resource.group, "kind": resource.plural,
            "uid": metadata.get("uid", ""),
        }  # fmt: skip
        return errors.success(details={key: item for key, item in details.items() if item})
    if resource.collection == "pods":
        if not metadata.get("deletionTimestamp"):
            metadata["generation"] = metadata.get("generation", 0) + 1
        metadata |= {"deletionTimestamp": timestamps.now(), "deletionGracePeriodSeconds": 0}
    return obj


def _mark(
    obj: Object, finalizers: list[str], grace: int, resource: Resource, strategy: Strategy
) -> bool:
    """Put the deletion's marks on the object, in place; returns whether it changed."""
    metadata = obj["metadata"]
    before = dict(metadata)
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)
    is_first = not metadata.get("deletionTimestamp")
    if is_first or grace < metadata.get("deletionGracePeriodSeconds", 0):
        metadata["deletionTimestamp"] = timestamps.after(grace)
        metadata["deletionGracePeriodSeconds"] = grace
    if is_first and strategy.tracks_generation:
        metadata["generation"] = metadata.get("generation", 0) + 1
    if resource.collection == "namespaces":
        metadata.pop("deletionGracePeriodSeconds", None)
        obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
    if resource.collection == crds.COLLECTION and is_first:
        crds.mark_deleted(obj)
    return bool(before != metadata)


def _check_preconditions(stored: Stored, resource: Resource, options: Object) -> None:
    wanted = options.get("preconditions") or {}
    for key, what, kept, happened in (
        ("uid", "UID", stored.uid, "deleted and then recreated"),
        ("resourceVersion", "ResourceVersion", str(stored.revision), "modified"),
    ):
        if wanted.get(key) and wanted[key] != kept:
            why = (
                f"the {what} in the precondition ({wanted[key]}) does not match the {what} in record "
                f"({kept}). The object might have been {happened}"
            )
            raise errors.conflict(resource.group, resource.kind, stored.name, why)


def check_options(options: Object) -> None:
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


def _finalizers(metadata: Object, options: Object, *, definition: bool) -> list[str]:
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


def _grace_seconds(resource: Resource, obj: Object, options: Object) -> int:
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
