"""Deletes objects in the reverse order of applying them, and waits until they are gone."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from ansible_collections.streamops.knative.plugins.module_utils._kube_apply import (
    Applier,
    Bundle,
    Interrupted,
    Item,
)
from ansible_collections.streamops.knative.plugins.module_utils._kube_client import (
    Client,
    Resource,
)
from ansible_collections.streamops.knative.plugins.module_utils._kube_sources import Refused

Object = dict[str, Any]
POLL_FIRST, POLL_MOST = 0.1, 1.0  # seconds between two looks


class Deleter:
    """Deletes what `before` of its items says is there."""

    def __init__(self, client: Client, applier: Applier, progress: Callable[[str], None]) -> None:
        self._client = client
        self._applier = applier
        self._progress = progress

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
        known = {item.key for item in bundle.items}
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
                    " first, or set delete_custom_resources"
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

    def delete(self, items: list[Item], *, timeout: float, wait: bool = True) -> None:
        """Delete all, the last wave first; raise Interrupted when `timeout` (seconds) is over."""
        waves: dict[int, list[Item]] = defaultdict(list)
        for item in items:
            waves[item.wave].append(item)
        deadline = time.monotonic() + timeout
        for number in sorted(waves, reverse=True):
            self._applier.parallel(self._delete, waves[number])
            if wait:
                self._await(waves[number], deadline, timeout)

    def _delete(self, item: Item) -> None:
        assert item.before is not None  # the caller read it
        workload = item.resource.group in ("apps", "batch")
        self._client.delete(
            item.resource,
            item.name,
            item.namespace,
            uid=item.before["metadata"]["uid"],
            propagation="Foreground" if workload else "Background",
        )

    def _await(self, items: list[Item], deadline: float, timeout: float) -> None:
        pause = POLL_FIRST
        while items:
            items = self._remaining(items)
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
        groups: dict[tuple[Resource, str | None], list[Item]] = defaultdict(list)
        for item in items:
            groups[item.resource, item.namespace].append(item)

        def look(entry: tuple[tuple[Resource, str | None], list[Item]]) -> list[Item]:
            (resource, namespace), members = entry
            live: dict[str, Object] = {}
            if len(members) == 1:
                obj = self._client.get(resource, members[0].name, namespace)
                live = {members[0].name: obj} if obj else {}
            else:
                live = {o["metadata"]["name"]: o for o in self._client.list(resource, namespace)}
            for item in members:
                item.after = live.get(item.name)
            return [item for item in members if _same(item.before, item.after)]

        found = self._applier.parallel(look, list(groups.items()))
        return [item for group in found for item in group]


def live_item(resource: Resource, obj: Object, origin: str) -> Item:
    """An item for something that is there but in nobody's manifests."""
    return Item(obj, origin, resource, before=obj)


def _owners(obj: Object) -> list[Object]:
    owners: list[Object] = obj["metadata"].get("ownerReferences") or []
    return owners


def _same(before: Object | None, now: Object | None) -> bool:
    return bool(before and now and before["metadata"]["uid"] == now["metadata"]["uid"])


def _holder(item: Item) -> str:
    metadata = (item.after or {}).get("metadata") or {}
    finalizers = metadata.get("finalizers") or []
    if finalizers:
        return f"waits for finalizer {', '.join(finalizers)}; does its controller run?"
    if item.resource.kind == "Namespace":
        conditions = ((item.after or {}).get("status") or {}).get("conditions") or []
        texts = [c["message"] for c in conditions if c.get("status") == "True" and c.get("message")]
        return "; ".join(texts) or "its contents are being deleted"
    return "is being deleted"
