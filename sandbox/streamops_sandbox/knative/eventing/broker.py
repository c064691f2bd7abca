"""The channel-based Broker: a channel behind the shared ingress, and a Subscription per Trigger."""

from __future__ import annotations

from typing import Any

import yaml

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Key, Object, owner_reference
from streamops_sandbox.knative.conditions import Conditions, find, is_true
from streamops_sandbox.knative.eventing import names
from streamops_sandbox.knative.process import Process
from streamops_sandbox.knative.reconciler import NotOwned, Reconciler, ensure
from streamops_sandbox.knative.resolver import Unresolved, resolve
from streamops_sandbox.node.context import ContainerContext

_OIDC_OFF = "authentication-oidc feature not yet supported for this Broker class"


async def main(ctx: ContainerContext) -> int:
    """Run cmd/mtchannel_broker, the controller of Brokers and their Triggers."""
    async with Process(ctx) as process:
        brokers = BrokerReconciler(process.client, process.namespace)
        triggers = TriggerReconciler(process.client, process.namespace)
        await process.answer_probes()
        return await process.run(brokers.run(), triggers.run())


class BrokerReconciler(Reconciler):
    """Reconciles Brokers of class MTChannelBasedBroker."""

    api_version = names.EVENTING
    kind = "Broker"
    dependents = (
        "Addressable",
        "DeadLetterSinkResolved",
        "EventPoliciesReady",
        "FilterReady",
        "IngressReady",
        "TriggerChannelReady",
    )

    def __init__(self, client: Client, system_namespace: str) -> None:
        super().__init__(client)
        self._system = system_namespace
        self._endpoints = client.informer("v1", "Endpoints", system_namespace)
        self.watch(self._endpoints, self._on_endpoints)

    def mine(self, obj: Object) -> bool:
        """Tell whether the Broker is of this class."""
        annotations = obj["metadata"].get("annotations") or {}
        return bool(annotations.get(names.BROKER_CLASS) == names.MT_BROKER)

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Make the trigger channel and, once it has an address, hand out the Broker's own."""
        channel = await self._channel(obj, conditions)
        address = ((channel or {}).get("status") or {}).get("address") or {}
        if channel is None or not address.get("url"):
            if channel is not None:
                message = "Channel does not have an address."
                conditions.false("TriggerChannelReady", "NoAddress", message)
            return
        conditions.true("TriggerChannelReady")
        obj["status"]["annotations"] = {
            names.CHANNEL_ADDRESS: address["url"],
            names.CHANNEL_API_VERSION: channel["apiVersion"],
            names.CHANNEL_KIND: channel["kind"],
            names.CHANNEL_NAME: channel["metadata"]["name"],
        }
        self._check_endpoints(conditions, names.FILTER_SERVICE, "FilterReady")
        self._check_endpoints(conditions, names.INGRESS_SERVICE, "IngressReady")
        await self._dead_letter_sink(obj, conditions)
        conditions.true("EventPoliciesReady", "DefaultAuthorizationMode")
        metadata = obj["metadata"]
        ingress = names.host(names.INGRESS_SERVICE, self._system)
        url = f"http://{ingress}/{metadata['namespace']}/{metadata['name']}"
        obj["status"]["address"] = {"name": "http", "url": url}
        conditions.true("Addressable")

    async def _channel(self, obj: Object, conditions: Conditions) -> Object | None:
        metadata = obj["metadata"]
        key: Key = (metadata["namespace"], metadata["name"])
        template = await self._template(obj, conditions)
        if template is None:
            return None
        name = names.child(metadata["name"], "-kne-trigger")
        current = await self.tracker.get(
            template["apiVersion"], template["kind"], metadata["namespace"], name, key=key
        )
        desired = {
            "apiVersion": template["apiVersion"],
            "kind": template["kind"],
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "labels": {
                    "eventing.knative.dev/broker": metadata["name"],
                    "eventing.knative.dev/brokerEverything": "true",
                },
                "annotations": {"eventing.knative.dev/scope": "cluster"},
                "ownerReferences": [owner_reference(obj)],
            },
            "spec": {**(template.get("spec") or {})},
        }
        if obj["spec"].get("delivery"):
            desired["spec"]["delivery"] = obj["spec"]["delivery"]
        try:
            return await ensure(self.client, current, desired)
        except NotOwned as error:
            conditions.false("TriggerChannelReady", "ChannelFailure", str(error))
            return None

    async def _template(self, obj: Object, conditions: Conditions) -> dict[str, Any] | None:
        """Return the channel template that the Broker's ConfigMap holds."""
        metadata, reference = obj["metadata"], obj["spec"].get("config") or {}
        if reference.get("kind") != "ConfigMap":
            message = f"spec.config: {reference.get('kind')!r} is not a ConfigMap"
            conditions.false("TriggerChannelReady", "ChannelTemplateFailed", message)
            return None
        namespace = reference.get("namespace") or metadata["namespace"]
        key: Key = (metadata["namespace"], metadata["name"])
        config = await self.tracker.get("v1", "ConfigMap", namespace, reference["name"], key=key)
        text = ((config or {}).get("data") or {}).get("channel-template-spec")
        if text is None:
            message = f"ConfigMap {namespace}/{reference['name']} has no channel-template-spec"
            conditions.false("TriggerChannelReady", "ChannelTemplateFailed", message)
            return None
        template: dict[str, Any] = yaml.safe_load(text)
        return template

    def _check_endpoints(self, conditions: Conditions, service: str, kind: str) -> None:
        found = self._endpoints.get(service, self._system) or {}
        if any(subset.get("addresses") for subset in found.get("subsets") or []):
            conditions.true(kind)
        else:
            message = f'Endpoints "{service}" are unavailable.'
            conditions.false(kind, "EndpointsUnavailable", message)

    async def _dead_letter_sink(self, obj: Object, conditions: Conditions) -> None:
        status, kind = obj["status"], "DeadLetterSinkResolved"
        sink = (obj["spec"].get("delivery") or {}).get("deadLetterSink")
        status.pop("deadLetterSinkUri", None)
        if sink is None:
            message = "No dead letter sink is configured."
            conditions.true(kind, "DeadLetterSinkNotConfigured", message)
            return
        metadata = obj["metadata"]
        key: Key = (metadata["namespace"], metadata["name"])
        try:
            address = await resolve(self.tracker, sink, metadata["namespace"], key=key)
        except Unresolved as error:
            conditions.false(kind, "Unable to get the DeadLetterSink's URI", str(error))
        else:
            status["deadLetterSinkUri"] = address.url
            conditions.true(kind)

    def _on_endpoints(self, endpoints: Object) -> list[Key]:
        if endpoints["metadata"]["name"] in (names.INGRESS_SERVICE, names.FILTER_SERVICE):
            return [
                (o["metadata"]["namespace"], o["metadata"]["name"]) for o in self.objects.list()
            ]
        return []


class TriggerReconciler(Reconciler):
    """Reconciles Triggers of channel-based Brokers: each becomes a Subscription to the channel."""

    api_version = names.EVENTING
    kind = "Trigger"
    dependents = (
        "BrokerReady",
        "DeadLetterSinkResolved",
        "DependencyReady",
        "OIDCIdentityCreated",
        "SubscriberResolved",
        "SubscriptionReady",
    )

    def __init__(self, client: Client, system_namespace: str) -> None:
        super().__init__(client)
        self._system = system_namespace
        self._brokers = self.watch(client.informer(names.EVENTING, "Broker"), self._of_broker)
        self._subscriptions = self.watch_owned(
            client.informer(names.MESSAGING, "Subscription"), self.kind
        )

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Subscribe, once the Broker is ready and the subscriber resolves."""
        name = obj["spec"].get("broker") or (obj["spec"].get("brokerRef") or {}).get("name", "")
        broker = self._brokers.get(name, obj["metadata"]["namespace"])
        conditions.true("OIDCIdentityCreated", _OIDC_OFF)
        if broker is None:
            message = f'Broker "{name}" does not exist'
            conditions.false("BrokerReady", "BrokerDoesNotExist", message)
            return
        annotations = broker["metadata"].get("annotations") or {}
        if annotations.get(names.BROKER_CLASS) != names.MT_BROKER:
            return
        absent = ("BrokerNotConfigured", "Broker has not yet been reconciled.")
        conditions.mirror("BrokerReady", find(broker), absent=absent)
        if not is_true(broker):
            return
        if not await self._resolve(obj, broker, conditions):
            return
        await self._subscribe(obj, broker, conditions)
        await self._check_dependency(obj, conditions)

    async def _resolve(self, obj: Object, broker: Object, conditions: Conditions) -> bool:
        """Resolve subscriber and dead letter sink into the status."""
        metadata, status, spec = obj["metadata"], obj["status"], obj["spec"]
        namespace, key = metadata["namespace"], (metadata["namespace"], metadata["name"])
        try:
            subscriber = await resolve(self.tracker, spec["subscriber"], namespace, key=key)
        except Unresolved as error:
            status.pop("subscriberUri", None)
            reason = "Unable to get the Subscriber's URI"
            conditions.false("SubscriberResolved", reason, str(error))
            return False
        status["subscriberUri"] = subscriber.url
        conditions.true("SubscriberResolved")
        status.pop("deadLetterSinkUri", None)
        sink = (spec.get("delivery") or {}).get("deadLetterSink")
        if sink is not None:
            try:
                address = await resolve(self.tracker, sink, namespace, key=key)
            except Unresolved as error:
                reason = "Unable to get the dead letter sink's URI"
                conditions.false("DeadLetterSinkResolved", reason, str(error))
                return False
            status["deadLetterSinkUri"] = address.url
            conditions.true("DeadLetterSinkResolved")
        elif not spec.get("delivery") and broker["status"].get("deadLetterSinkUri"):
            status["deadLetterSinkUri"] = broker["status"]["deadLetterSinkUri"]
            conditions.true("DeadLetterSinkResolved")
        else:
            message = "No dead letter sink is configured."
            conditions.true("DeadLetterSinkResolved", "DeadLetterSinkNotConfigured", message)
        return True

    async def _subscribe(self, obj: Object, broker: Object, conditions: Conditions) -> None:
        desired = self._subscription(obj, broker)
        metadata = desired["metadata"]
        current = self._subscriptions.get(metadata["name"], metadata["namespace"])
        try:
            found = await ensure(self.client, current, desired, replace=["spec"])
        except NotOwned as error:
            conditions.false("SubscriptionReady", "SubscriptionNotOwnedByTrigger", str(error))
            return
        absent = ("SubscriptionNotConfigured", "Subscription has not yet been reconciled.")
        conditions.mirror("SubscriptionReady", find(found), absent=absent)

    def _subscription(self, obj: Object, broker: Object) -> Object:
        metadata, noted = obj["metadata"], broker["status"]["annotations"]
        namespace, broker_name = metadata["namespace"], broker["metadata"]["name"]
        path = f"/triggers/{namespace}/{metadata['name']}/{metadata['uid']}"
        spec: Object = {
            "channel": {
                "apiVersion": noted[names.CHANNEL_API_VERSION],
                "kind": noted[names.CHANNEL_KIND],
                "name": noted[names.CHANNEL_NAME],
            },
            "subscriber": {"uri": f"http://{names.host(names.FILTER_SERVICE, self._system)}{path}"},
            "reply": {
                "ref": {
                    "apiVersion": names.EVENTING,
                    "kind": "Broker",
                    "name": broker_name,
                    "namespace": namespace,
                }
            },
        }
        delivery = obj["spec"].get("delivery") or broker["spec"].get("delivery")
        if delivery:
            spec["delivery"] = delivery
        return {
            "apiVersion": names.MESSAGING,
            "kind": "Subscription",
            "metadata": {
                "name": names.child(f"{broker_name}-{metadata['name']}-", metadata["uid"]),
                "namespace": namespace,
                "labels": {
                    "eventing.knative.dev/broker": broker_name,
                    "eventing.knative.dev/trigger": metadata["name"],
                },
                "ownerReferences": [owner_reference(obj)],
            },
            "spec": spec,
        }

    async def _check_dependency(self, obj: Object, conditions: Conditions) -> None:
        """Wait for the object that `knative.dev/dependency` names, if any."""
        metadata = obj["metadata"]
        text = (metadata.get("annotations") or {}).get("knative.dev/dependency")
        if not text:
            conditions.true("DependencyReady")
            return
        reference = yaml.safe_load(text)
        found = await self.tracker.get(
            reference["apiVersion"],
            reference["kind"],
            metadata["namespace"],
            reference["name"],
            key=(metadata["namespace"], metadata["name"]),
        )
        if found is None:
            message = f"Dependency does not exist: {reference['kind']} {reference['name']}"
            conditions.false("DependencyReady", "DependencyDoesNotExist", message)
        else:
            absent = ("DependencyNotConfigured", "Dependency has not yet been reconciled.")
            conditions.mirror("DependencyReady", find(found), absent=absent)

    def _of_broker(self, broker: Object) -> list[Key]:
        metadata = broker["metadata"]
        return [
            (trigger["metadata"]["namespace"], trigger["metadata"]["name"])
            for trigger in self.objects.list(metadata["namespace"])
            if trigger["spec"].get("broker") == metadata["name"]
        ]
