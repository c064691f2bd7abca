"""EventTypes: found by what passes through a Broker, and checked for what they refer to."""

from __future__ import annotations

import hashlib

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.controller import Key, Object, owner_reference
from streamops_sandbox.knative.cloudevents import Event
from streamops_sandbox.knative.conditions import Conditions
from streamops_sandbox.knative.eventing import names
from streamops_sandbox.knative.reconciler import Reconciler

_API = "eventing.knative.dev/v1beta2"


async def auto_create(client: Client, event: Event, broker: Object) -> None:
    """Note the type of an event that passed a Broker, once for each type, source and schema."""
    attributes, metadata = event.attributes, broker["metadata"]
    schema = attributes.get("dataschema", "")
    identity = f"{attributes['type']}{attributes['source']}{schema}{metadata['name']}"
    digest = hashlib.md5(identity.encode(), usedforsecurity=False).hexdigest()
    spec = {
        "type": attributes["type"],
        "source": attributes["source"],
        "description": "Event Type auto-created by controller",
        "reference": {
            "apiVersion": names.EVENTING,
            "kind": "Broker",
            "name": metadata["name"],
            "namespace": metadata["namespace"],
        },
    }
    if schema:
        spec["schema"] = schema
    try:
        await client.create(
            {
                "apiVersion": _API,
                "kind": "EventType",
                "metadata": {
                    "name": names.child("et-", f"{metadata['name']}-{digest}")[:63],
                    "namespace": metadata["namespace"],
                    "ownerReferences": [owner_reference(broker)],
                },
                "spec": spec,
            }
        )
    except ApiError as error:
        if not error.already_exists:
            raise


class EventTypeReconciler(Reconciler):
    """Reconciles EventTypes: Ready while what they refer to exists."""

    api_version = _API
    kind = "EventType"
    dependents = ("ReferenceExists",)

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Look up the reference."""
        metadata, spec = obj["metadata"], obj["spec"]
        reference = spec.get("reference")
        if not reference and spec.get("broker"):
            broker = {"apiVersion": names.EVENTING, "kind": "Broker", "name": spec["broker"]}
            reference = broker
        if not reference:
            conditions.true("ReferenceExists", "ReferenceNotSet", "no reference is set")
            return
        key: Key = (metadata["namespace"], metadata["name"])
        where = reference.get("namespace") or metadata["namespace"]
        found = await self.tracker.get(
            reference["apiVersion"], reference["kind"], where, reference["name"], key=key
        )
        if found is None:
            message = f"{reference['kind']} {where}/{reference['name']} does not exist"
            conditions.false("ReferenceExists", "ReferenceDoesNotExist", message)
        else:
            conditions.true("ReferenceExists")
