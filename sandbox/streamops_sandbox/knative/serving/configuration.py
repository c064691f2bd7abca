"""Configuration: a Revision for each generation of its template."""

from __future__ import annotations

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Object, controller_of, owner_reference
from streamops_sandbox.knative.conditions import Conditions, find, is_true
from streamops_sandbox.knative.reconciler import Reconciler
from streamops_sandbox.knative.serving import names


class ConfigurationReconciler(Reconciler):
    """Reconciles Configurations; old Revisions stay, as history that traffic can go back to."""

    api_version = names.API
    kind = "Configuration"

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._revisions = self.watch_owned(client.informer(names.API, "Revision"), "Configuration")

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Make the current generation's Revision and note the newest one that is ready."""
        revision = await self._latest_created(obj, conditions)
        if revision is None:
            return
        status = obj["status"]
        name = revision["metadata"]["name"]
        status["latestCreatedRevisionName"] = name
        ready = find(revision)
        if ready is None or ready["status"] == "Unknown":
            reason, message = (ready or {}).get("reason", ""), (ready or {}).get("message", "")
            conditions.unknown("Ready", reason, message)
        elif ready["status"] == "True":
            conditions.true("Ready")
        else:
            message = f"Revision {name!r} failed with message: {ready.get('message', '')}."
            conditions.false("Ready", "RevisionFailed", message.replace("'", '"'))
        latest = self._latest_ready(obj)
        if latest is not None:
            status["latestReadyRevisionName"] = latest

    async def _latest_created(self, obj: Object, conditions: Conditions) -> Object | None:
        metadata = obj["metadata"]
        wanted = _revision(obj)
        name = wanted["metadata"]["name"]
        found = self._revisions.get(name, metadata["namespace"])
        if found is None:
            return await self.client.create(wanted)
        owner = controller_of(found)
        generation = (found["metadata"].get("labels") or {}).get(names.CONFIGURATION_GENERATION)
        same = found["spec"] == wanted["spec"] or generation == str(metadata["generation"])
        if owner is None or owner["uid"] != metadata["uid"] or not same:
            message = f'Revision "{name}" exists and differs from the template'
            conditions.false("Ready", "RevisionFailed", message)
            return None
        return found

    def _latest_ready(self, obj: Object) -> str | None:
        """Return the ready Revision of the highest generation."""
        owned = [
            revision
            for revision in self._revisions.list(obj["metadata"]["namespace"])
            if (controller_of(revision) or {}).get("uid") == obj["metadata"]["uid"]
            and is_true(revision)
        ]
        newest = max(owned, key=_generation, default=None)
        return str(newest["metadata"]["name"]) if newest else None


def _generation(revision: Object) -> int:
    return int((revision["metadata"].get("labels") or {}).get(names.CONFIGURATION_GENERATION, 0))


def _revision(obj: Object) -> Object:
    metadata, template = obj["metadata"], obj["spec"]["template"]
    own = template.get("metadata") or {}
    generation = metadata["generation"]
    labels = {
        **(own.get("labels") or {}),
        names.CONFIGURATION: metadata["name"],
        names.CONFIGURATION_UID: metadata["uid"],
        names.CONFIGURATION_GENERATION: str(generation),
        names.ROUTING_STATE: "pending",
    }
    for label in (names.SERVICE, names.SERVICE_UID):
        labels[label] = (metadata.get("labels") or {}).get(label, "")
    annotations = names.inherited(own.get("annotations"))
    creator = (metadata.get("annotations") or {}).get(names.LAST_MODIFIER)
    if creator:
        annotations[names.CREATOR] = creator
    return {
        "apiVersion": names.API,
        "kind": "Revision",
        "metadata": {
            "name": own.get("name") or f"{metadata['name']}-{generation:05}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner_reference(obj)],
        },
        "spec": template["spec"],
    }
