"""ControllerRevisions: the templates a DaemonSet or StatefulSet has had, for `kubectl rollout undo`."""

from __future__ import annotations

from typing import Any

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.controller import owner_reference
from streamops_sandbox.controllers.workloads import owned
from streamops_sandbox.informer import Informer

Object = dict[str, Any]

HASH_LABEL = "controller-revision-hash"


class RevisionHistory:
    """Keeps one ControllerRevision for each template, numbered by when it was last wanted."""

    def __init__(self, client: Client, revisions: Informer) -> None:
        self._client = client
        self._revisions = revisions

    async def record(self, owner: Object, digest: str, pods: list[Object]) -> None:
        """Make the owner's template, known by `digest`, the newest revision; forget the oldest.

        Revisions that pods still run do not count against the limit.
        """
        known = sorted(owned(self._revisions, owner), key=_number)
        newest = _number(known[-1]) if known else 0
        current = next((one for one in known if _digest(one) == digest), None)
        if current is None:
            try:
                await self._client.create(_revision(owner, digest, newest + 1))
            except ApiError as error:
                if not error.already_exists:  # made a moment ago, and not seen yet
                    raise
        elif _number(current) < newest:  # an earlier template is wanted again
            metadata = current["metadata"]
            change = {"revision": newest + 1}
            await self._client.patch(
                "apps/v1", "ControllerRevision", metadata["name"], metadata["namespace"], change
            )
        running = {digest, *(_digest(pod) for pod in pods)}
        unused = [one for one in known if _digest(one) not in running]
        limit = owner["spec"].get("revisionHistoryLimit", 10)
        for one in unused[: max(0, len(unused) - limit)]:
            metadata = one["metadata"]
            await self._client.delete(
                "apps/v1",
                "ControllerRevision",
                metadata["name"],
                metadata["namespace"],
                uid=metadata["uid"],
            )


def _revision(owner: Object, digest: str, number: int) -> Object:
    """Return the object; its data is a strategic merge patch that brings the template back."""
    template = owner["spec"]["template"]
    labels = (template.get("metadata") or {}).get("labels") or {}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"{owner['metadata']['name']}-{digest}",
            "namespace": owner["metadata"]["namespace"],
            "labels": labels | {HASH_LABEL: digest},
            "annotations": owner["metadata"].get("annotations") or {},
            "ownerReferences": [owner_reference(owner)],
        },
        "revision": number,
        "data": {"spec": {"template": {**template, "$patch": "replace"}}},
    }


def _number(revision: Object) -> int:
    return int(revision["revision"])


def _digest(obj: Object) -> str:
    return str((obj["metadata"].get("labels") or {}).get(HASH_LABEL, ""))
