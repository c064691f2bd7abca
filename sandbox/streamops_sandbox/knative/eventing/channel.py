"""The generic Channel: a channel of the configured kind behind it."""

from __future__ import annotations

from streamops_sandbox.controller import Key, Object, owner_reference
from streamops_sandbox.knative.conditions import Conditions, find
from streamops_sandbox.knative.eventing import names
from streamops_sandbox.knative.reconciler import NotOwned, Reconciler, ensure


class ChannelReconciler(Reconciler):
    """Reconciles Channels."""

    api_version = names.MESSAGING
    kind = "Channel"
    dependents = ("Addressable", "BackingChannelReady")

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Keep the channel behind and pass on its address."""
        metadata, template = obj["metadata"], obj["spec"]["channelTemplate"]
        key: Key = (metadata["namespace"], metadata["name"])
        current = await self.tracker.get(template["apiVersion"], template["kind"], *key, key=key)
        spec = {**(template.get("spec") or {})}
        if obj["spec"].get("delivery"):
            spec["delivery"] = obj["spec"]["delivery"]
        desired = {
            "apiVersion": template["apiVersion"],
            "kind": template["kind"],
            "metadata": {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "ownerReferences": [owner_reference(obj)],
            },
            "spec": spec,
        }
        try:
            backing = await ensure(self.client, current, desired)
        except NotOwned as error:
            conditions.false("BackingChannelReady", "NotOwned", str(error))
            return
        status = obj["status"]
        status["channel"] = {
            "apiVersion": backing["apiVersion"],
            "kind": backing["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
        }
        absent = ("BackingChannelNotConfigured", "BackingChannel has not yet been reconciled.")
        conditions.mirror("BackingChannelReady", find(backing), absent=absent)
        state = backing.get("status") or {}
        if state.get("subscribers"):
            status["subscribers"] = state["subscribers"]
        if (state.get("address") or {}).get("url"):
            status["address"] = state["address"]
            conditions.true("Addressable")
        else:
            status.pop("address", None)
            message = "Address is not set"
            conditions.false("Addressable", "EmptyAddress", message)
