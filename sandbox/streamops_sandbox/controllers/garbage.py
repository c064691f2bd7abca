"""Garbage collection: what is owned goes when its owners are gone.

Contract: https://kubernetes.io/docs/concepts/architecture/garbage-collection/ with the three
deletion policies: background, foreground (finalizer `foregroundDeletion`) and orphan (finalizer
`orphan`).
"""

from __future__ import annotations

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.controller import Controller
from streamops_sandbox.controllers.discovery import Kind, kinds
from streamops_sandbox.informer import Informer
from streamops_sandbox.objects import Object

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
#: Never owners, and own nothing that needs collecting; too many to follow.
_IGNORED = {"Event"}
#: The queue's key for what kinds there are.
_KINDS = "kinds"


class GarbageCollector(Controller):
    """Follows all objects of the cluster; the key of its queue is an object's uid."""

    settle_seconds = 0.2  # definitions of kinds come in bundles

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._objects: dict[str, Object] = {}
        self._dependents: dict[str, set[str]] = {}
        self._followed: dict[tuple[str, str], Informer] = {}
        crds = client.informer("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        self.watch(crds, lambda _: [(None, _KINDS)])
        self.enqueue(None, _KINDS)

    async def reconcile(self, _: str | None, name: str) -> None:
        """Look at one object: do its owners live, and is it waiting for its dependents?"""
        if name == _KINDS:
            await self._follow(await kinds(self.client))
        obj = self._objects.get(name)
        if obj is None:
            return
        finalizers = obj["metadata"].get("finalizers") or []
        if obj["metadata"].get("deletionTimestamp"):
            if ORPHAN in finalizers:
                await self._orphan_dependents(obj)
                return
            if FOREGROUND in finalizers:
                await self._delete_dependents(obj)
                return
        if obj["metadata"].get("ownerReferences"):
            await self._check_owners(obj)

    # -- the graph -------------------------------------------------------------------------------

    async def _follow(self, found: list[Kind]) -> None:
        wanted = {
            (kind.api_version, kind.kind)
            for kind in found
            if {"list", "watch", "delete"} <= kind.verbs and kind.kind not in _IGNORED
        }
        for key in set(self._followed) - wanted:
            await self.client.drop_informer(self._followed.pop(key))
        for key in wanted - set(self._followed):
            informer = self._followed[key] = self.client.informer(*key)
            informer.subscribe(self._on_event)
            await informer.start()

    def _on_event(self, event_type: str, obj: Object) -> None:
        uid = obj["metadata"]["uid"]
        before = self._objects.pop(uid, None)
        for owner in _owner_uids(before):
            self._dependents.get(owner, set()).discard(uid)
        if event_type == "DELETED":
            for dependent in self._dependents.get(uid, ()):
                self.enqueue(None, dependent)
            for owner in _owner_uids(before):  # one less to wait for
                if owner in self._objects:
                    self.enqueue(None, owner)
            return
        self._objects[uid] = obj
        for owner in _owner_uids(obj):
            self._dependents.setdefault(owner, set()).add(uid)
        if obj["metadata"].get("ownerReferences") or obj["metadata"].get("deletionTimestamp"):
            self.enqueue(None, uid)

    # -- owners ----------------------------------------------------------------------------------

    async def _check_owners(self, obj: Object) -> None:
        references = obj["metadata"]["ownerReferences"]
        living = [reference for reference in references if await self._lives(obj, reference)]
        if len(living) == len(references):
            return
        if living:
            await self._patch(obj, {"ownerReferences": living})
        elif not obj["metadata"].get("deletionTimestamp"):
            await self.client.delete(obj, "Background")

    async def _lives(self, obj: Object, reference: Object) -> bool:
        """Whether the owner is there, and not waiting only for this object's deletion."""
        if reference["uid"] in self._objects:
            return True
        namespace = obj["metadata"].get("namespace")
        try:
            found = await self.client.get(
                reference["apiVersion"], reference["kind"], reference["name"], namespace
            )
        except ApiError as error:
            if error.not_found:
                return False
            raise
        return bool(found["metadata"]["uid"] == reference["uid"])

    # -- dependents --------------------------------------------------------------------------------

    def _dependents_of(self, obj: Object) -> list[Object]:
        uids = self._dependents.get(obj["metadata"]["uid"], set())
        return [self._objects[uid] for uid in list(uids) if uid in self._objects]

    async def _delete_dependents(self, owner: Object) -> None:
        """Foreground deletion: the owner goes after those that block it."""
        uid = owner["metadata"]["uid"]
        dependents = self._dependents_of(owner)
        blocking = [one for one in dependents if _blocks(one, uid)]
        if not blocking:
            await self._remove_finalizer(owner, FOREGROUND)
            return
        for one in dependents:
            others = [ref for ref in one["metadata"]["ownerReferences"] if ref["uid"] != uid]
            if any([await self._lives(one, reference) for reference in others]):
                await self._patch(one, {"ownerReferences": others})
            elif not one["metadata"].get("deletionTimestamp"):
                has_own = any(
                    _blocks(two, one["metadata"]["uid"]) for two in self._dependents_of(one)
                )
                await self.client.delete(one, "Foreground" if has_own else "Background")

    async def _orphan_dependents(self, owner: Object) -> None:
        uid = owner["metadata"]["uid"]
        for one in self._dependents_of(owner):
            others = [ref for ref in one["metadata"]["ownerReferences"] if ref["uid"] != uid]
            await self._patch(one, {"ownerReferences": others})
        await self._remove_finalizer(owner, ORPHAN)

    # -- writing ---------------------------------------------------------------------------------

    async def _remove_finalizer(self, obj: Object, name: str) -> None:
        left = [entry for entry in obj["metadata"]["finalizers"] if entry != name]
        await self._patch(obj, {"finalizers": left})

    async def _patch(self, obj: Object, change: Object) -> None:
        metadata = obj["metadata"]
        precondition = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        try:
            await self.client.patch(obj, {"metadata": change | precondition})
        except ApiError as error:
            if not error.not_found:
                raise


def _owner_uids(obj: Object | None) -> list[str]:
    references = (obj or {"metadata": {}})["metadata"].get("ownerReferences") or []
    return [reference["uid"] for reference in references]


def _blocks(obj: Object, owner_uid: str) -> bool:
    return any(
        reference["uid"] == owner_uid and reference.get("blockOwnerDeletion")
        for reference in obj["metadata"].get("ownerReferences") or []
    )
