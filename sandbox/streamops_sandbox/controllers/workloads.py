"""What the controllers of workloads have in common: their pods and their status."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.controller import controller_of, owner_reference
from streamops_sandbox.events import EventRecorder
from streamops_sandbox.informer import Informer
from streamops_sandbox.label_selectors import matches
from streamops_sandbox.objects import Object
from streamops_sandbox.timestamps import now, parse

#: The label of the template a DaemonSet's or StatefulSet's pod was made from.
REVISION_HASH = "controller-revision-hash"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: no words come out


def owned(informer: Informer, owner: Object) -> list[Object]:
    """Return the objects that `owner` controls."""
    uid = owner["metadata"]["uid"]
    return [
        obj
        for obj in informer.list(owner["metadata"]["namespace"])
        if (controller := controller_of(obj)) is not None and controller["uid"] == uid
    ]


async def claim(client: Client, informer: Informer, owner: Object) -> list[Object]:
    """Return what `owner` controls, after adopting what its selector matches and nobody controls.

    What it controls and its selector no longer matches is released.
    """
    selector = owner["spec"].get("selector")
    metadata = owner["metadata"]
    claimed = []
    for obj in informer.list(metadata["namespace"]):
        controller = controller_of(obj)
        matching = matches(selector, obj["metadata"].get("labels"))
        if controller is not None and controller["uid"] == metadata["uid"]:
            if matching or metadata.get("deletionTimestamp"):
                claimed.append(obj)
            else:
                await _set_owners(client, obj, metadata["uid"], None)
        elif (
            controller is None
            and matching
            and not metadata.get("deletionTimestamp")
            and not obj["metadata"].get("deletionTimestamp")
        ):
            claimed.append(await _set_owners(client, obj, metadata["uid"], owner))
    return claimed


async def _set_owners(client: Client, obj: Object, uid: str, owner: Object | None) -> Object:
    metadata = obj["metadata"]
    others = [entry for entry in metadata.get("ownerReferences") or [] if entry["uid"] != uid]
    change = {
        "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"],
        "ownerReferences": others + ([owner_reference(owner)] if owner else []),
    }
    return await client.patch(obj, {"metadata": change})


def pod_from(template: Object, owner: Object, **metadata: object) -> Object:
    """Return the pod a template makes, controlled by `owner`."""
    made = copy.deepcopy(template)
    made.setdefault("metadata", {}).pop("creationTimestamp", None)
    made["metadata"] |= {
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [owner_reference(owner)],
        **metadata,
    }
    return {"apiVersion": "v1", "kind": "Pod", **made}


async def create_pods(
    client: Client, events: EventRecorder, owner: Object, pods: Iterable[Object]
) -> Exception | None:
    """Create pods at the same time, with events; return what kept one from being created."""
    results = await asyncio.gather(*map(client.create, pods), return_exceptions=True)
    for result in results:
        if isinstance(result, ApiError):
            message = f"Error creating: {result.message}"
            events.record(owner, "Warning", "FailedCreate", message)
        if isinstance(result, Exception):
            return result
        if isinstance(result, BaseException):
            raise result
        message = f"Created pod: {result['metadata']['name']}"
        events.record(owner, "Normal", "SuccessfulCreate", message)
    return None


async def delete_pods(client: Client, pods: Iterable[Object]) -> None:
    """Delete pods, gracefully; those that are gone already count as deleted."""
    await asyncio.gather(*(client.delete(pod) for pod in pods))


def is_active(pod: Object) -> bool:
    """Whether a pod has neither ended nor been told to."""
    ended = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    return not ended and not pod["metadata"].get("deletionTimestamp")


def is_ready(pod: Object) -> bool:
    """Whether a pod's Ready condition is True."""
    return condition(pod, "Ready").get("status") == "True"


def unavailable_for(pod: Object, min_ready_seconds: int) -> float | None:
    """Return in how many seconds a ready pod counts as available; 0: now, None: it is not ready."""
    if not is_ready(pod):
        return None
    if not min_ready_seconds:
        return 0.0
    since = parse(condition(pod, "Ready")["lastTransitionTime"])
    return max(0.0, min_ready_seconds - (datetime.now(UTC) - since).total_seconds())


def condition(obj: Object, kind: str) -> Object:
    """Return a condition of an object's status, or {}."""
    for entry in obj.get("status", {}).get("conditions") or []:
        if entry["type"] == kind:
            found: Object = entry
            return found
    return {}


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
    text = json.dumps(template, sort_keys=True)
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    characters = []
    for _ in range(10):
        number, rest = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[rest])
    return "".join(characters)


def resolve_percent(value: int | str | None, total: int, *, up: bool) -> int:
    """Return an absolute number for an IntOrString such as `25%`, rounded up or down."""
    if isinstance(value, str) and value.endswith("%"):
        product = int(value[:-1]) * total
        return -(-product // 100) if up else product // 100
    return int(value or 0)
