"""The channel-based Broker's control plane: its address, and where its Triggers lead.

There is no channel behind it: the data plane hands events from the ingress to the filter, which
does what upstream's dispatcher of in-memory channels does.
"""

from __future__ import annotations

import yaml

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Key, Object
from streamops_sandbox.knative.conditions import Conditions, find, is_true
from streamops_sandbox.knative.eventing import names
from streamops_sandbox.knative.process import Process
from streamops_sandbox.knative.reconciler import Reconciler
from streamops_sandbox.knative.resolver import Unresolved, resolve
from streamops_sandbox.node.context import ContainerContext

_OIDC_OFF = "authentication-oidc feature not yet supported for this Broker class"
_NO_DEAD_LETTERS = ("DeadLetterSinkNotConfigured", "No dead letter sink is configured.")
_CHANNEL = "InMemoryChannel"


async def main(ctx: ContainerContext) -> int:
    """Run cmd/mtchannel_broker, the controller of Brokers and their Triggers."""
    async with Process(ctx) as process:
        brokers = BrokerReconciler(process.client, process.namespace)
        triggers = TriggerReconciler(process.client)
        await process.answer_probes()
        return await process.run(brokers.run(), triggers.run())


class _WithDeliveries(Reconciler):
    """A kind whose `delivery` may name a dead letter sink."""

    async def resolve_dead_letter_sink(self, obj: Object, conditions: Conditions) -> bool:
        """Note the sink's URI in the status; tells whether there is one."""
        kind, status = "DeadLetterSinkResolved", obj["status"]
        sink = (obj["spec"].get("delivery") or {}).get("deadLetterSink")
        status.pop("deadLetterSinkUri", None)
        if sink is None:
            conditions.true(kind, *_NO_DEAD_LETTERS)
            return False
        try:
            address = await resolve(self.tracker, sink, _key(obj)[0] or "", key=_key(obj))
        except Unresolved as error:
            conditions.false(kind, "Unable to get the DeadLetterSink's URI", str(error))
            return False
        status["deadLetterSinkUri"] = address.url
        conditions.true(kind)
        return True


class BrokerReconciler(_WithDeliveries):
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
        return _is_ours(obj)

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Check what the Broker stands on, then hand out its address."""
        problem = await self._channel_problem(obj)
        if problem:
            conditions.false("TriggerChannelReady", *problem)
            return
        conditions.true("TriggerChannelReady")
        self._check_endpoints(conditions, names.FILTER_SERVICE, "FilterReady")
        self._check_endpoints(conditions, names.INGRESS_SERVICE, "IngressReady")
        await self.resolve_dead_letter_sink(obj, conditions)
        conditions.true("EventPoliciesReady", "DefaultAuthorizationMode")
        url = f"http://{names.host(names.INGRESS_SERVICE, self._system)}/{'/'.join(map(str, _key(obj)))}"
        obj["status"]["address"] = {"name": "http", "url": url}
        conditions.true("Addressable")

    async def _channel_problem(self, obj: Object) -> tuple[str, str] | None:
        """Return why the channel that the Broker's ConfigMap describes cannot be had."""
        reason, reference = "ChannelTemplateFailed", obj["spec"].get("config") or {}
        if reference.get("kind") != "ConfigMap":
            return reason, f"spec.config: {reference.get('kind')!r} is not a ConfigMap"
        namespace = reference.get("namespace") or obj["metadata"]["namespace"]
        name = reference["name"]
        config = await self.tracker.get("v1", "ConfigMap", namespace, name, key=_key(obj))
        text = ((config or {}).get("data") or {}).get("channel-template-spec")
        if text is None:
            return reason, f"ConfigMap {namespace}/{name} has no channel-template-spec"
        kind = (yaml.safe_load(text) or {}).get("kind")
        if kind != _CHANNEL:
            return "NotModelled", f"the sandbox models Brokers on an {_CHANNEL}, not on a {kind}"
        return None

    def _check_endpoints(self, conditions: Conditions, service: str, kind: str) -> None:
        found = self._endpoints.get(service, self._system) or {}
        if any(subset.get("addresses") for subset in found.get("subsets") or []):
            conditions.true(kind)
        else:
            message = f'Endpoints "{service}" are unavailable.'
            conditions.false(kind, "EndpointsUnavailable", message)

    def _on_endpoints(self, endpoints: Object) -> list[Key]:
        if endpoints["metadata"]["name"] in (names.INGRESS_SERVICE, names.FILTER_SERVICE):
            return [_key(obj) for obj in self.objects.list()]
        return []


class TriggerReconciler(_WithDeliveries):
    """Reconciles Triggers of channel-based Brokers: their status tells the filter where to send."""

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

    def __init__(self, client: Client) -> None:
        super().__init__(client)
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
        if not _is_ours(broker):
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
        try:
            subscriber = spec["subscriber"]
            address = await resolve(self.tracker, subscriber, _key(obj)[0] or "", key=_key(obj))
        except Unresolved as error:
            status.pop("subscriberUri", None)
            reason = "Unable to get the Subscriber's URI"
            conditions.false("SubscriberResolved", reason, str(error))
            return False
        status["subscriberUri"] = address.url
        conditions.true("SubscriberResolved")
        found = await self.resolve_dead_letter_sink(obj, conditions)
        if not found and not spec.get("delivery") and broker["status"].get("deadLetterSinkUri"):
            status["deadLetterSinkUri"] = broker["status"]["deadLetterSinkUri"]
            conditions.true("DeadLetterSinkResolved")
        return is_true(obj, "DeadLetterSinkResolved")

    def _of_broker(self, broker: Object) -> list[Key]:
        metadata = broker["metadata"]
        return [
            _key(trigger)
            for trigger in self.objects.list(metadata["namespace"])
            if trigger["spec"].get("broker") == metadata["name"]
        ]


def _is_ours(broker: Object) -> bool:
    annotations = broker["metadata"].get("annotations") or {}
    return bool(annotations.get(names.BROKER_CLASS) == names.MT_BROKER)


def _key(obj: Object) -> Key:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]
