"""Deletes objects in the reverse order of applying them, and waits until they are gone."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from .apply import PART_OF, Applier, Bundle, Interrupted, Item, Key, Settings
from .client import Client, Resource
from .errors import ApiError, KubeError
from .manifests import Refused
from .namespaces import is_foreign, release

Object = dict[str, Any]
POLL_FIRST, POLL_MOST = 0.1, 1.0  # seconds between two looks
# What every namespace has, or what the cluster makes of other objects.
_BY_ITSELF = {
    ("", "Endpoints"),
    ("", "Event"),
    ("apps", "ControllerRevision"),
    ("coordination.k8s.io", "Lease"),
    ("discovery.k8s.io", "EndpointSlice"),
    ("events.k8s.io", "Event"),
    ("metrics.k8s.io", "PodMetrics"),
}
_ACCOUNTS = {"default", "builder", "deployer"}  # the latter two: OpenShift's
_GIVEN = {
    *(("ServiceAccount", name) for name in _ACCOUNTS),
    ("ConfigMap", "kube-root-ca.crt"),
    # of OpenShift
    ("ConfigMap", "openshift-service-ca.crt"),
    ("RoleBinding", "system:deployers"),
    ("RoleBinding", "system:image-builders"),
    ("RoleBinding", "system:image-pullers"),
}
_SERVICE_ACCOUNT = "kubernetes.io/service-account.name"  # annotation of a Secret made for one
#: Prefix of the labels of apply sets, see apply_set.py.
APPLY_SET = "applyset.kubernetes.io"
NAMED = 5  # objects named when a namespace is kept


class Deleter:
    """Deletes what `before` of its items says is there."""

    def __init__(
        self,
        client: Client,
        applier: Applier,
        progress: Callable[[str], None],
        settings: Settings,
        records: Iterable[Key] = (),
    ) -> None:
        """Prepare deletions; `records` keep no namespace, since they only record what else is there."""
        self._records = set(records)
        self._client = client
        self._settings = settings
        self._applier = applier
        self._progress = progress
        self.warnings: list[str] = []

    def with_custom_resources(self, bundle: Bundle, *, allowed: bool) -> None:
        """Add the custom resources that go with the bundle's definitions, or refuse.

        Deleting a definition deletes every resource of its kind; those with a finalizer would then
        wait for a controller that is gone. So they go first, while their controllers run, and only
        when that was asked for. What a controller owns goes with its owner.
        """
        definitions = [
            item.before
            for item in bundle.items
            if item.resource.kind == "CustomResourceDefinition" and item.before
        ]
        known = {item.key for item in bundle.items} | self._settings.planned_deletions
        found = [
            item
            for items in self._applier.parallel(self._instances, definitions)
            for item in items
            if item.key not in known
        ]
        if found and not allowed:
            raise Refused(
                [
                    f"{item.title} would be deleted with its CustomResourceDefinition: delete it"
                    " first, or allow it with delete_custom_resources"
                    for item in found
                ]
            )
        bundle.items += found

    def _instances(self, crd: Object) -> list[Item]:
        spec = crd["spec"]
        version = next((v["name"] for v in spec["versions"] if v.get("served")), "")
        api_version = f"{spec['group']}/{version}"
        resource = self._client.resources().get((api_version, spec["names"]["kind"]))
        if resource is None:
            return []
        return [
            live_item(resource, obj, "the cluster")
            for obj in self._client.list(resource)
            if not any(owner.get("controller") for owner in _owners(obj))
        ]

    def foresee(self, items: list[Item], action: str) -> None:
        """Set the `action` of each: that given, or "kept" for a namespace others use too.

        Of what is being deleted already nothing changes; it is only waited for.
        """
        for item in items:
            leaving = (item.before or {}).get("metadata", {}).get("deletionTimestamp")
            item.action = "unchanged" if leaving else action
        self._spare(items)

    def delete(self, items: list[Item], *, timeout: float, wait: bool = True) -> None:
        """Delete all, the last wave first; raise Interrupted when `timeout` (seconds) is over."""
        waves: dict[int, list[Item]] = defaultdict(list)
        for item in items:
            waves[item.wave].append(item)
        deadline = time.monotonic() + timeout
        for number in sorted(waves, reverse=True):
            if any(item.resource.kind == "Namespace" for item in waves[number]):
                self._spare(items)  # again: objects may have been created meanwhile
            going = [item for item in waves[number] if item.action != "kept"]
            self._applier.parallel(
                self._delete, [item for item in going if item.action != "unchanged"]
            )
            if wait:
                self._await(going, deadline, timeout)
        for item in items:
            if item.action == "kept" and is_foreign(item, self._settings.namespaces):
                release(self._client, item, self._settings.field_manager)

    def _spare(self, items: list[Item]) -> None:
        """Mark namespaces as kept that hold what is not of this bundle."""
        known = {item.key for item in items} | self._records | self._settings.planned_deletions
        namespaces = [
            item for item in items if item.resource.kind == "Namespace" and item.action != "kept"
        ]
        for item in namespaces:
            if is_foreign(item, self._settings.namespaces):
                item.action = "kept"
                self.warnings.append(
                    f"Namespace {item.name} is kept: this collection did not create it"
                )
                continue
            left = [
                (other, live) for other, live in self._contents(item.name) if other.key not in known
            ]
            sets = {_labels(live).get(PART_OF) for _item, live in left}
            others = [
                f"{other.resource.kind} {other.name}"
                for other, live in left
                # Where earlier deletions are only planned, the record of their set is still there.
                if not (self._settings.planned_deletions and _is_record_without(sets, live))
            ]
            if others:
                more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
                item.action = "kept"
                self.warnings.append(
                    f"Namespace {item.name} is kept: it holds {', '.join(others[:NAMED])}{more}"
                )

    def _contents(self, namespace: str) -> list[tuple[Item, Object]]:
        """Return the user-created objects of a namespace, each once although served in many versions."""
        self._client.forget()  # definitions that were just deleted took their kinds along
        kinds: dict[tuple[str, str], Resource] = {}
        for resource in self._client.resources().values():
            group_kind = (resource.group, resource.kind)
            if resource.namespaced and "list" in resource.verbs and group_kind not in _BY_ITSELF:
                kinds.setdefault(group_kind, resource)

        def look(resource: Resource) -> list[tuple[Item, Object]]:
            try:
                listed = self._client.list(resource, namespace)
            except ApiError as error:
                if error.status in (404, 405):
                    return []  # on its way out, or not for listing in a namespace
                raise
            found = [
                (live_item(resource, obj, ""), obj)
                for obj in listed
                if not _owners(obj) and not obj["metadata"].get("deletionTimestamp")
            ]
            return [(item, obj) for item, obj in found if not _is_given(item)]

        return [
            entry for found in self._applier.parallel(look, list(kinds.values())) for entry in found
        ]

    def _delete(self, item: Item) -> None:
        uid = (item.before or {}).get("metadata", {}).get("uid", "")
        self._applier.delete(
            item.resource,
            item.name,
            item.namespace,
            uid=uid,
            propagation="Foreground" if _has_dependents(item) else "Background",
        )

    def _await(self, items: list[Item], deadline: float, timeout: float) -> None:
        pause = POLL_FIRST
        while items:
            try:
                with self._client.transport.retries.until(deadline):
                    items = self._remaining(items)
            except KubeError as error:
                if not error.is_transient or time.monotonic() > deadline:
                    raise
            if not items:
                return
            if time.monotonic() > deadline:
                raise Interrupted(
                    f"Still there after {timeout:g} s (wait_timeout):\n"
                    + "\n".join(f"- {item.title}: {_holder(item)}" for item in items)
                )
            self._progress(
                f"deleting: {len(items)} still there, first {items[0].title}: {_holder(items[0])}"
            )
            time.sleep(pause)
            pause = min(pause * 1.4, POLL_MOST)

    def _remaining(self, items: list[Item]) -> list[Item]:
        for item, live in zip(items, self._applier.live(items), strict=True):
            item.after = live
        return [item for item in items if _same(item.before, item.after)]


def _labels(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def _is_record_without(members: Collection[str | None], obj: Object) -> bool:
    """Return whether an object is the record of an apply set of its namespace, with none of these members."""
    elsewhere = (obj["metadata"].get("annotations") or {}).get(f"{APPLY_SET}/additional-namespaces")
    identity = _labels(obj).get(f"{APPLY_SET}/id")
    return bool(identity) and not elsewhere and identity not in members


def deletions(objects: Iterable[Mapping[str, str]]) -> frozenset[Key]:
    """Return what was deleted, or is planned to be, of objects as a Result returns them."""
    return frozenset(
        (
            str(entry["api_version"]).rpartition("/")[0],
            str(entry["kind"]),
            str(entry["namespace"]),
            str(entry["name"]),
        )
        for entry in objects
        if entry["action"] in ("deleted", "pruned")
    )


def live_item(resource: Resource, obj: Object, origin: str) -> Item:
    """Return an item for something that is there but in nobody's manifests."""
    return Item(obj, origin, resource, before=obj)


def _is_given(item: Item) -> bool:
    """Return whether the cluster puts an object like this into every namespace."""
    annotations = item.definition["metadata"].get("annotations") or {}
    if item.resource.kind == "Secret" and annotations.get(_SERVICE_ACCOUNT) in _ACCOUNTS:
        return True
    return (item.resource.kind, item.name) in _GIVEN


def _has_dependents(item: Item) -> bool:
    """Return whether it is gone only when its pods are."""
    group = item.resource.group
    return group in ("apps", "batch") or ("." in group and not group.endswith(".k8s.io"))


def _owners(obj: Object) -> list[Object]:
    owners: list[Object] = obj["metadata"].get("ownerReferences") or []
    return owners


def _same(before: Object | None, now: Object | None) -> bool:
    return bool(before and now and before["metadata"]["uid"] == now["metadata"]["uid"])


def _holder(item: Item) -> str:
    metadata = (item.after or {}).get("metadata") or {}
    finalizers = metadata.get("finalizers") or []
    if finalizers == ["foregroundDeletion"]:
        return "waits until what it owns is gone"
    if finalizers:
        return f"waits for finalizer {', '.join(finalizers)}; does its controller run?"
    if item.resource.kind == "Namespace":
        conditions = ((item.after or {}).get("status") or {}).get("conditions") or []
        texts = [c["message"] for c in conditions if c.get("status") == "True" and c.get("message")]
        return "; ".join(texts) or "its contents are being deleted"
    return "is being deleted"
