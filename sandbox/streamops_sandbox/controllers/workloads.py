"""What the controllers of workloads have in common: their pods and their status."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
from collections.abc import Iterable
from typing import Any

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.controller import Controller, controller_of, owner_reference
from streamops_sandbox.informer import Informer
from streamops_sandbox.label_selectors import matches
from streamops_sandbox.objects import Object
from streamops_sandbox.timestamps import now

#: The label of the template a DaemonSet's or StatefulSet's pod was made from.
_REVISION_HASH = "controller-revision-hash"


def owned(informer: Informer, owner: Object) -> list[Object]:
    """Return the objects that `owner` controls."""
    uid = owner["metadata"]["uid"]
    return [
        obj
        for obj in informer.list(owner["metadata"]["namespace"])
        if (controller := controller_of(obj)) is not None and controller["uid"] == uid
    ]


async def claim(client: Client, informer: Informer, owner: Object) -> list[Object]:
    """Return what `owner` controls, after adopting what its selector matches and nobody controls."""
    selector = owner["spec"].get("selector")
    for obj in informer.list(owner["metadata"]["namespace"]):
        metadata = obj["metadata"]
        if (
            controller_of(obj) is None
            and matches(selector, metadata.get("labels"))
            and not metadata.get("deletionTimestamp")
        ):
            references = [*(metadata.get("ownerReferences") or []), owner_reference(owner)]
            change = {"uid": metadata["uid"], "ownerReferences": references}
            await client.patch(obj, {"metadata": change})
    return owned(informer, owner)


def unsupported(spec: Object, fields: Iterable[str]) -> list[str]:
    """Return those of `fields` that a spec has: `a.b`, or `a.b=value`."""
    found = []
    for field in fields:
        path, _, value = field.partition("=")
        there: Any = spec
        for key in path.split("."):
            there = (there or {}).get(key)
        if there and value in ("", str(there)):
            found.append(field)
    return found


class PodController(Controller):
    """The base of controllers that own pods: a subclass names its kind and gives `sync` and `status`."""

    api_version = "apps/v1"
    kind: str
    #: Fields of the spec that are not modelled, as `unsupported` takes them.
    unsupported: tuple[str, ...] = ()

    def __init__(self, client: Client) -> None:
        super().__init__(client, f"{self.kind.lower()}-controller")
        self.owners = self.watch(client.informer(self.api_version, self.kind))
        self._pods = self.watch_owned(client.informer("v1", "Pod"), self.kind)

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Bring an object's pods closer to what it asks for, then write its status."""
        owner = self.owners.get(name, namespace)
        if owner is None or owner["metadata"].get("deletionTimestamp"):
            return
        if refused := self.refused(owner):
            message = f"not supported by the sandbox: {', '.join(refused)}"
            self.events.record(owner, "Warning", "Unsupported", message)
            return
        failure = await self.sync(owner, await claim(self.client, self._pods, owner))
        pods = owned(self._pods, owner)
        status = {"observedGeneration": owner["metadata"].get("generation", 1)}
        await write_status(self.client, owner, status | self.status(owner, pods, failure))
        if failure is not None:
            raise failure

    def refused(self, owner: Object) -> list[str]:
        """Return what an object asks for that is not modelled; it is left alone then."""
        return unsupported(owner["spec"], self.unsupported)

    async def sync(self, owner: Object, pods: list[Object]) -> Exception | None:
        """Create and delete pods; return what kept one from being created."""
        raise NotImplementedError

    def status(self, owner: Object, pods: list[Object], failure: Exception | None) -> Object:
        """Return an object's status; `failure` is what `sync` returned."""
        raise NotImplementedError

    async def create(self, owner: Object, pods: Iterable[Object]) -> Exception | None:
        """Create pods at the same time, with events; return what kept one from being created."""
        results = await asyncio.gather(*map(self.client.create, pods), return_exceptions=True)
        for result in results:
            if isinstance(result, ApiError):
                message = f"Error creating: {result.message}"
                self.events.record(owner, "Warning", "FailedCreate", message)
            if isinstance(result, Exception):
                return result
            if isinstance(result, BaseException):
                raise result
            message = f"Created pod: {result['metadata']['name']}"
            self.events.record(owner, "Normal", "SuccessfulCreate", message)
        return None

    async def delete(self, owner: Object, pods: Iterable[Object]) -> None:
        """Delete pods that are not being deleted yet, gracefully, with events."""
        leaving = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
        await asyncio.gather(*map(self.client.delete, leaving))
        for pod in leaving:
            message = f"Deleted pod: {pod['metadata']['name']}"
            self.events.record(owner, "Normal", "SuccessfulDelete", message)


def pod_from(owner: Object, **metadata: object) -> Object:
    """Return a pod of an object's template, controlled by it."""
    made = copy.deepcopy(owner["spec"]["template"])
    made.setdefault("metadata", {}).pop("creationTimestamp", None)
    made["metadata"] |= {
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [owner_reference(owner)],
        **metadata,
    }
    return {"apiVersion": "v1", "kind": "Pod", **made}


def revised_pod(owner: Object, **metadata: object) -> Object:
    """Return a pod of an object's template with the label that says of which."""
    pod = pod_from(owner, **metadata)
    digest = template_hash(owner["spec"]["template"])
    pod["metadata"].setdefault("labels", {})[_REVISION_HASH] = digest
    return pod


def is_current(owner: Object, pod: Object) -> bool:
    """Whether `revised_pod` made a pod of the object's present template."""
    labels = pod["metadata"].get("labels") or {}
    return labels.get(_REVISION_HASH) == template_hash(owner["spec"]["template"])


def without_zeros(**counts: int) -> Object:
    """Return counts of a status as Go's `omitempty` writes them."""
    return {key: value for key, value in counts.items() if value}


def has_ended(pod: Object) -> bool:
    """Whether a pod has succeeded or failed."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Whether a pod has neither ended nor been told to."""
    return not has_ended(pod) and not pod["metadata"].get("deletionTimestamp")


def is_ready(pod: Object) -> bool:
    """Whether a pod's Ready condition is True."""
    return condition(pod, "Ready").get("status") == "True"


def condition(obj: Object, kind: str) -> Object:
    """Return a condition of an object's status, or {}."""
    conditions = obj.get("status", {}).get("conditions") or []
    return next((entry for entry in conditions if entry["type"] == kind), {})


def set_condition(
    conditions: list[Object], kind: str, status: str, reason: str, message: str, **times: str
) -> None:
    """Set a condition in a list; the transition time changes with the status only."""
    before = next((entry for entry in conditions if entry["type"] == kind), None)
    entry = {"type": kind, "status": status, "reason": reason, "message": message, **times}
    same = before is not None and before["status"] == status
    entry["lastTransitionTime"] = before["lastTransitionTime"] if same and before else now()
    if before is None:
        conditions.append(entry)
    else:
        conditions[conditions.index(before)] = entry


async def write_status(client: Client, obj: Object, status: Object) -> None:
    """Make `status` the object's status, where it is not yet."""
    before = obj.get("status") or {}
    change = {key: value for key, value in status.items() if before.get(key) != value}
    change |= {key: None for key in before if key not in status}
    if not change:
        return
    body = {"metadata": {"uid": obj["metadata"]["uid"]}, "status": change}
    await client.patch(obj, body, subresource="status")


def template_hash(template: Object) -> str:
    """Return ten characters that stand for a pod template (`pod-template-hash`)."""
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def resolve_percent(value: int | str | None, total: int, *, up: bool) -> int:
    """Return an absolute number for an IntOrString such as `25%`, rounded up or down."""
    if isinstance(value, str) and value.endswith("%"):
        product = int(value[:-1]) * total
        return -(-product // 100) if up else product // 100
    return int(value or 0)
