"""The channel-based Broker's control plane: its address, and where its Triggers lead.

There is no channel behind it: the data plane hands events from the ingress to the filter, which
does what upstream's dispatcher of in-memory channels does.
"""

from __future__ import annotations

import yaml

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Key, key_of
from streamops_sandbox.knative.conditions import Conditions, find, is_true
from streamops_sandbox.knative.eventing import names
from streamops_sandbox.knative.process import Process
from streamops_sandbox.knative.reconciler import Reconciler
from streamops_sandbox.knative.resolver import Unresolved, resolve
from streamops_sandbox.node.context import ContainerContext
from streamops_sandbox.objects import Object

_OIDC_OFF = "authentication-oidc feature not yet supported for this Broker class"
_NO_DEAD_LETTERS = ("DeadLetterSinkNotConfigured", "No dead letter sink is configured.")
_CHANNEL = "InMemoryChannel"
_PORT = 80
_AGAIN_SECONDS = 0.5


async def main(ctx: ContainerContext) -> int:
    """Run cmd/mtchannel_broker, the controller of Brokers and their Triggers."""
    async with Process(ctx) as process:
        brokers = BrokerReconciler(process)
        triggers = TriggerReconciler(process.client)
        await process.answer_probes()
        return await process.run(brokers.run(), triggers.run())


class _WithDeliveries(Reconciler):
    """A kind whose `delivery` may name a dead letter sink."""

    async def resolve_dead_letter_sink(self, obj: Object, conditions: Conditions) -> bool:
        """Note the sink's URI in the status; tells whether there is one."""
        sink = (obj["spec"].get("delivery") or {}).get("deadLetterSink")
        if sink is None:
            obj["status"].pop("deadLetterSinkUri", None)
            conditions.true("DeadLetterSinkResolved", *_NO_DEAD_LETTERS)
            return False
        return await self.resolve_uri(obj, conditions, sink, "DeadLetterSink")

    async def resolve_uri(
        self, obj: Object, conditions: Conditions, destination: Object, what: str
    ) -> bool:
        """Note the URI of what a destination is to the object in the status; tells whether there is one."""
        field = f"{what[0].lower()}{what[1:]}Uri"
        try:
            address = await resolve(self.tracker, destination, key=key_of(obj))
        except Unresolved as error:
            obj["status"].pop(field, None)
            conditions.false(f"{what}Resolved", f"Unable to get the {what}'s URI", str(error))
            return False
        obj["status"][field] = address.url
        conditions.true(f"{what}Resolved")
        return True


class BrokerReconciler(_WithDeliveries):
    """Reconciles Brokers of class MTChannelBasedBroker."""

    broker_class = names.MT_BROKER
    ingress = names.INGRESS_SERVICE
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

    def __init__(self, process: Process) -> None:
        super().__init__(process.client)
        self._system = process.namespace
        self._resolve = process.ctx.resolve

    def mine(self, obj: Object) -> bool:
        """Tell whether the Broker is of this class."""
        return _class_of(obj) == self.broker_class

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Check what the Broker stands on, then hand out its address."""
        problem = await self._channel_problem(obj)
        if problem:
            conditions.false("TriggerChannelReady", *problem)
            return
        conditions.true("TriggerChannelReady")
        self.check_service(obj, conditions, names.FILTER_SERVICE, "FilterReady")
        self.check_service(obj, conditions, names.INGRESS_SERVICE, "IngressReady")
        await self.hand_out_address(obj, conditions)

    async def hand_out_address(self, obj: Object, conditions: Conditions) -> None:
        """Note where the Broker takes events, and where it sends those that it cannot deliver."""
        await self.resolve_dead_letter_sink(obj, conditions)
        conditions.true("EventPoliciesReady", "DefaultAuthorizationMode")
        url = f"http://{names.host(self.ingress, self._system)}/{'/'.join(map(str, key_of(obj)))}"
        obj["status"]["address"] = {"name": "http", "url": url}
        conditions.true("Addressable")

    async def _channel_problem(self, obj: Object) -> tuple[str, str] | None:
        """Return why the channel that the Broker's ConfigMap describes cannot be had."""
        reason, reference = "ChannelTemplateFailed", obj["spec"].get("config") or {}
        if reference.get("kind") != "ConfigMap":
            return reason, f"spec.config: {reference.get('kind')!r} is not a ConfigMap"
        namespace = reference.get("namespace") or obj["metadata"]["namespace"]
        name = reference["name"]
        config = await self.tracker.get("v1", "ConfigMap", namespace, name, key=key_of(obj))
        text = ((config or {}).get("data") or {}).get("channel-template-spec")
        if text is None:
            return reason, f"ConfigMap {namespace}/{name} has no channel-template-spec"
        kind = (yaml.safe_load(text) or {}).get("kind")
        if kind != _CHANNEL:
            return "NotModelled", f"the sandbox models Brokers on an {_CHANNEL}, not on a {kind}"
        return None

    def check_service(self, obj: Object, conditions: Conditions, service: str, kind: str) -> None:
        """Mark whether a Service of the data plane has a ready endpoint; looks again if it has none."""
        if self._resolve(names.host(service, self._system), _PORT) is not None:
            conditions.true(kind)
            return
        message = f'Endpoints "{service}" are unavailable.'
        conditions.false(kind, "EndpointsUnavailable", message)
        self.requeue_after(*key_of(obj), _AGAIN_SECONDS)


class TriggerReconciler(_WithDeliveries):
    """Reconciles Triggers of Brokers of a class: their status tells the filter where to send."""

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

    def __init__(self, client: Client, broker_class: str = names.MT_BROKER) -> None:
        super().__init__(client)
        self._class = broker_class
        self._brokers = self.watch(client.informer(names.EVENTING, "Broker"), self._of_broker)

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Resolve subscriber and dead letter sink, once the Broker is ready."""
        name = obj["spec"].get("broker") or (obj["spec"].get("brokerRef") or {}).get("name", "")
        broker = self._brokers.get(name, obj["metadata"]["namespace"])
        conditions.true("OIDCIdentityCreated", _OIDC_OFF)
        if broker is None:
            message = f'Broker "{name}" does not exist'
            conditions.false("BrokerReady", "BrokerDoesNotExist", message)
            return
        if _class_of(broker) != self._class:
            return
        absent = ("BrokerNotConfigured", "Broker has not yet been reconciled.")
        conditions.mirror("BrokerReady", find(broker), absent=absent)
        if not is_true(broker) or not await self._resolve(obj, broker, conditions):
            return
        conditions.true("SubscriptionReady")
        if (obj["metadata"].get("annotations") or {}).get("knative.dev/dependency"):
            message = "the sandbox does not model knative.dev/dependency"
            conditions.false("DependencyReady", "NotModelled", message)
        else:
            conditions.true("DependencyReady")

    async def _resolve(self, obj: Object, broker: Object, conditions: Conditions) -> bool:
        status, spec = obj["status"], obj["spec"]
        if not await self.resolve_uri(obj, conditions, spec["subscriber"], "Subscriber"):
            return False
        found = await self.resolve_dead_letter_sink(obj, conditions)
        if not found and not spec.get("delivery") and broker["status"].get("deadLetterSinkUri"):
            status["deadLetterSinkUri"] = broker["status"]["deadLetterSinkUri"]
            conditions.true("DeadLetterSinkResolved")
        return is_true(obj, "DeadLetterSinkResolved")

    def _of_broker(self, broker: Object) -> list[Key]:
        metadata = broker["metadata"]
        return [
            key_of(trigger)
            for trigger in self.objects.list(metadata["namespace"])
            if trigger["spec"].get("broker") == metadata["name"]
        ]


def _class_of(broker: Object) -> str | None:
    found: str | None = (broker["metadata"].get("annotations") or {}).get(names.BROKER_CLASS)
    return found
