"""The shape all Knative reconcilers share: read an object, act, write back its status."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from typing import ClassVar

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.controller import Controller, Key, controller_of, key_of, owner_reference
from streamops_sandbox.informer import Informer
from streamops_sandbox.knative.conditions import Conditions
from streamops_sandbox.label_selectors import matches
from streamops_sandbox.objects import Object

_SYNC_SECONDS = 5.0
_NO_RESOURCE = "the server could not find the requested resource"


class NotOwned(Exception):
    """An object of the wanted name exists but belongs to somebody else."""


class Reconciler(Controller):
    """Reconcile one kind: `reconcile_kind` edits the copy it gets, its status is written back.

    `dependents` are the conditions that Ready sums up. With a `finalizer`, `finalize_kind`
    runs before the object goes.
    """

    api_version: ClassVar[str]
    kind: ClassVar[str]
    dependents: ClassVar[Sequence[str]] = ()
    finalizer: ClassVar[str] = ""

    def __init__(self, client: Client) -> None:
        super().__init__(client, f"{self.kind.lower()}-controller")
        self.objects = self.watch(client.informer(self.api_version, self.kind))
        self.tracker = Tracker(client, self)

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Do the work; `obj` is a copy, its `status` is what will be stored."""
        raise NotImplementedError

    async def finalize_kind(self, obj: Object) -> None:
        """Undo what would outlive the object."""

    def mine(self, obj: Object) -> bool:
        """Tell whether this reconciler is responsible for the object (its class annotation)."""
        return True

    def enqueue_all(self, *_: object) -> None:
        """Have every object reconciled: something they all depend on has changed."""
        for obj in self.objects.list():
            self.enqueue(*key_of(obj))

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Reconcile one object and store its status where that changed."""
        original = self.objects.get(name, namespace)
        if original is None or not self.mine(original):
            return
        obj = copy.deepcopy(original)
        if obj["metadata"].get("deletionTimestamp"):
            await self._finalize(obj)
            return
        if self.finalizer and self.finalizer not in (obj["metadata"].get("finalizers") or []):
            await self._set_finalizers(
                obj, [*obj["metadata"].get("finalizers", []), self.finalizer]
            )
        status = obj.setdefault("status", {})
        conditions = Conditions(status, self.dependents)
        conditions.initialize()
        try:
            await self.reconcile_kind(obj, conditions)
            status["observedGeneration"] = obj["metadata"].get("generation")
        except Exception as error:
            text = error.message if isinstance(error, ApiError) else str(error)
            self.events.record(obj, "Warning", "InternalError", text)
            raise
        finally:
            if status != (original.get("status") or {}):
                await self.client.update_status(obj)

    async def _finalize(self, obj: Object) -> None:
        finalizers = obj["metadata"].get("finalizers") or []
        if self.finalizer and self.finalizer in finalizers:
            await self.finalize_kind(obj)
            await self._set_finalizers(obj, [f for f in finalizers if f != self.finalizer])

    async def _set_finalizers(self, obj: Object, finalizers: list[str]) -> None:
        metadata = obj["metadata"]
        changes = {"finalizers": finalizers, "resourceVersion": metadata["resourceVersion"]}
        patched = await self.client.patch(obj, {"metadata": changes})
        metadata["finalizers"] = finalizers
        metadata["resourceVersion"] = patched["metadata"]["resourceVersion"]


class Tracker:
    """Re-queues an object whenever one it depends on, of whatever kind, changes."""

    def __init__(self, client: Client, controller: Controller) -> None:
        self._client = client
        self._controller = controller
        self._informers: dict[tuple[str, str], Informer] = {}
        self._keys: dict[tuple[str, str, str | None, str | None], set[Key]] = {}

    async def get(
        self, api_version: str, kind: str, namespace: str | None, name: str, *, key: Key
    ) -> Object | None:
        """Return an object, or None, and have `key` reconciled when it changes or appears.

        Raises ApiError where objects of the kind cannot be listed, as `select` does.
        """
        return (await self._follow(api_version, kind, namespace, name, key)).get(name, namespace)

    async def select(
        self, api_version: str, kind: str, namespace: str, selector: Object, *, key: Key
    ) -> list[Object]:
        """Return the objects a label selector matches, and follow that namespace."""
        informer = await self._follow(api_version, kind, namespace, None, key)
        return [
            obj
            for obj in informer.list(namespace)
            if matches(selector, obj["metadata"].get("labels"))
        ]

    async def _follow(
        self, api_version: str, kind: str, namespace: str | None, name: str | None, key: Key
    ) -> Informer:
        identity = (api_version, kind)
        informer = self._informers.get(identity)
        if informer is None:
            await self._check_access(api_version, kind)
            informer = self._client.informer(api_version, kind)
            self._informers[identity] = informer
            informer.subscribe(lambda _, obj: self._changed(identity, obj))
            await informer.start()
        async with asyncio.timeout(_SYNC_SECONDS):
            await informer.synced()
        self._keys.setdefault((api_version, kind, namespace, name), set()).add(key)
        return informer

    async def _check_access(self, api_version: str, kind: str) -> None:
        try:
            await self._client.request(
                "GET", await self._client.path(api_version, kind), params={"limit": "1"}
            )
        except ApiError as error:
            self._client.forget_resource(api_version)
            if error.not_found:  # in client-go's words
                raise ApiError(404, "NotFound", _NO_RESOURCE) from None
            raise

    def _changed(self, identity: tuple[str, str], obj: Object) -> None:
        namespace, name = obj["metadata"].get("namespace"), obj["metadata"]["name"]
        for target in (name, None):
            for key in self._keys.get((*identity, namespace, target), ()):
                self._controller.enqueue(*key)


def not_found(api_version: str, kind: str, name: str) -> str:
    """Return apimachinery's message for an object that is not there."""
    group = api_version.rpartition("/")[0]
    return f'{plural(kind)}{"." if group else ""}{group} "{name}" not found'


def plural(kind: str) -> str:
    """Guess a kind's plural as apimachinery's UnsafeGuessKindToResource does."""
    lower = kind.lower()
    if lower.endswith("s"):
        return lower + "es"
    return lower[:-1] + "ies" if lower.endswith("y") else lower + "s"


async def ensure(client: Client, current: Object | None, desired: Object) -> Object:
    """Create `desired` or bring `current` to it by server-side apply; returns what is stored.

    What others have added to it, as the SinkBinding webhook does, stays.

    Raises:
        NotOwned: `current` is not controlled by the owner `desired` names. It becomes an event.
    """
    owner, actual = controller_of(desired) or {}, controller_of(current or desired) or {}
    if actual.get("uid") != owner.get("uid"):
        name = desired["metadata"]["name"]
        raise NotOwned(
            f"{owner['kind']} {owner['name']!r} does not own {desired['kind']}: {name!r}"
        )
    return await client.apply(desired, field_manager=f"{owner['kind'].lower()}-controller")


def owned(
    owner: Object, api_version: str, kind: str, name: str, spec: Object, **metadata: Object
) -> Object:
    """Return an object in its owner's namespace, which the owner controls."""
    place = {"name": name, "namespace": owner["metadata"]["namespace"]}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {**place, "ownerReferences": [owner_reference(owner)], **metadata},
        "spec": spec,
    }
