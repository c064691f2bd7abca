"""Subscription: one more entry in its channel's `spec.subscribers`."""

from __future__ import annotations

from streamops_sandbox.controller import Key, Object
from streamops_sandbox.knative.conditions import Conditions
from streamops_sandbox.knative.eventing import names
from streamops_sandbox.knative.reconciler import Reconciler
from streamops_sandbox.knative.resolver import Unresolved, resolve


class SubscriptionReconciler(Reconciler):
    """Reconciles Subscriptions to channels of any kind."""

    api_version = names.MESSAGING
    kind = "Subscription"
    finalizer = "subscriptions.messaging.knative.dev"
    dependents = ("AddedToChannel", "ChannelReady", "OIDCIdentityCreated", "ReferencesResolved")

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Resolve the references, then put them into the channel."""
        conditions.true("OIDCIdentityCreated", "authentication-oidc feature disabled")
        channel = await self._channel(obj)
        if channel is None:
            message = f"Failed to get Spec.Channel: {obj['spec']['channel']['name']} not found"
            conditions.false("ReferencesResolved", "ChannelReferenceFailed", message)
            return
        if not await self._resolve(obj, channel, conditions):
            return
        await self._add(obj, channel, conditions)

    async def finalize_kind(self, obj: Object) -> None:
        """Take the entry out of the channel again."""
        channel = await self._channel(obj)
        if channel is None:
            return
        subscribers = channel["spec"].get("subscribers") or []
        rest = [entry for entry in subscribers if entry.get("uid") != obj["metadata"]["uid"]]
        if rest != subscribers:
            await self._write(channel, rest)

    async def _channel(self, obj: Object) -> Object | None:
        """Return the channel; of a generic Channel the one behind it."""
        metadata, reference = obj["metadata"], obj["spec"]["channel"]
        key: Key = (metadata["namespace"], metadata["name"])
        found = await self.tracker.get(
            reference["apiVersion"],
            reference["kind"],
            metadata["namespace"],
            reference["name"],
            key=key,
        )
        behind = ((found or {}).get("status") or {}).get("channel")
        if found is not None and reference["kind"] == "Channel":
            if not behind:
                return None
            return await self.tracker.get(
                behind["apiVersion"],
                behind["kind"],
                metadata["namespace"],
                behind["name"],
                key=key,
            )
        return found

    async def _resolve(self, obj: Object, channel: Object, conditions: Conditions) -> bool:
        metadata, spec = obj["metadata"], obj["spec"]
        key: Key = (metadata["namespace"], metadata["name"])
        delivery = spec.get("delivery") or channel["spec"].get("delivery") or {}
        targets = {
            "subscriberUri": ("Subscriber", spec.get("subscriber")),
            "replyUri": ("Reply", spec.get("reply")),
            "deadLetterSinkUri": ("DeadLetterSink", delivery.get("deadLetterSink")),
        }
        resolved = {}
        for field, (what, destination) in targets.items():
            if not destination:
                continue
            try:
                address = await resolve(self.tracker, destination, metadata["namespace"], key=key)
            except Unresolved as error:
                message = f"Failed to resolve spec.{what.lower()}: {error}"
                conditions.false("ReferencesResolved", f"{what}ResolveFailed", message)
                return False
            resolved[field] = address.url
        obj["status"]["physicalSubscription"] = resolved
        conditions.true("ReferencesResolved")
        return True

    async def _add(self, obj: Object, channel: Object, conditions: Conditions) -> None:
        entry = _entry(obj, channel)
        subscribers = channel["spec"].get("subscribers") or []
        if entry not in subscribers:
            rest = [item for item in subscribers if item.get("uid") != entry["uid"]]
            channel = await self._write(channel, [*rest, entry])
        conditions.true("AddedToChannel")
        states = (channel.get("status") or {}).get("subscribers") or []
        state = next((item for item in states if item.get("uid") == entry["uid"]), None)
        if state is None or state.get("observedGeneration") != entry["generation"]:
            message = "Subscription not marked by Channel as Ready"
            conditions.unknown("ChannelReady", "SubscriptionNotMarkedReadyByChannel", message)
        elif state.get("ready") == "True":
            conditions.true("ChannelReady")
        else:
            message = state.get("message", "")
            conditions.false("ChannelReady", "SubscriptionNotMarkedReadyByChannel", message)

    async def _write(self, channel: Object, subscribers: list[Object]) -> Object:
        metadata = channel["metadata"]
        change = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "spec": {"subscribers": subscribers},
        }
        return await self.client.patch(
            channel["apiVersion"],
            channel["kind"],
            metadata["name"],
            metadata["namespace"],
            change,
        )


def _entry(obj: Object, channel: Object) -> Object:
    """Return what the channel has to know of a Subscription whose references are resolved."""
    resolved = obj["status"]["physicalSubscription"]
    entry = {
        "uid": obj["metadata"]["uid"],
        "name": obj["metadata"]["name"],
        "generation": obj["metadata"]["generation"],
    }
    for field in ("subscriberUri", "replyUri"):
        if resolved.get(field):
            entry[field] = resolved[field]
    given = obj["spec"].get("delivery") or channel["spec"].get("delivery")
    if given:
        delivery = {k: v for k, v in given.items() if k != "deadLetterSink"}
        if resolved.get("deadLetterSinkUri"):
            delivery["deadLetterSink"] = {"uri": resolved["deadLetterSinkUri"]}
        entry["delivery"] = delivery
    return entry
