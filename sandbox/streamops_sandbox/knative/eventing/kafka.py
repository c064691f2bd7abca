"""eventing-kafka-broker for Brokers, with no Kafka behind it: events are held in memory until they are delivered.

Of Kafka itself only a connection to the first bootstrap server is opened and closed again.
"""

from __future__ import annotations

import asyncio

from streamops_sandbox.controller import key_of
from streamops_sandbox.knative.conditions import Conditions
from streamops_sandbox.knative.eventing import names
from streamops_sandbox.knative.eventing.broker import BrokerReconciler, TriggerReconciler
from streamops_sandbox.knative.eventing.broker_data import Ingress, TriggerFilter
from streamops_sandbox.knative.process import Process
from streamops_sandbox.knative.unmodelled import unmodelled
from streamops_sandbox.node.context import ContainerContext
from streamops_sandbox.objects import Object

_CONNECT_SECONDS = 2.0
_AGAIN_SECONDS = 2.0


async def controller(ctx: ContainerContext, *kinds: str) -> int:
    """Run control-plane/cmd/kafka-controller, of which only Brokers and their Triggers are modelled."""
    async with Process(ctx) as process:
        triggers = TriggerReconciler(process.client, names.KAFKA_BROKER)
        await process.answer_probes()
        others = unmodelled(process.client, kinds)
        return await process.run(KafkaBrokerReconciler(process).run(), triggers.run(), *others)


async def receiver(ctx: ContainerContext) -> int:
    """Run the receiver, which also does the dispatcher's work."""
    async with Process(ctx) as process, asyncio.TaskGroup() as tasks:
        brokers = await process.follow(names.EVENTING, "Broker")
        triggers = await process.follow(names.EVENTING, "Trigger")
        dispatcher = TriggerFilter(process, brokers, triggers, tasks)
        ingress = Ingress(brokers, dispatcher.take)
        await process.listen(int(ctx.env["INGRESS_PORT"]), ingress.answer)
        return await process.run()


class KafkaBrokerReconciler(BrokerReconciler):
    """Reconciles Brokers of class Kafka."""

    broker_class = names.KAFKA_BROKER
    ingress = names.KAFKA_INGRESS_SERVICE
    dependents = (
        "Addressable",
        "ConfigParsed",
        "DataPlaneAvailable",
        "DeadLetterSinkResolved",
        "EventPoliciesReady",
        "TopicReady",
    )

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Check the configuration, that Kafka answers and the receiver runs; then hand out the address."""
        reference = obj["spec"].get("config") or {}
        namespace = reference.get("namespace") or obj["metadata"]["namespace"]
        name = reference.get("name", "")
        config = await self.tracker.get("v1", "ConfigMap", namespace, name, key=key_of(obj))
        servers = ((config or {}).get("data") or {}).get("bootstrap.servers", "")
        if reference.get("kind") != "ConfigMap" or not servers:
            message = f"ConfigMap {namespace}/{name} has no bootstrap.servers"
            conditions.false("ConfigParsed", "InvalidConfiguration", message)
            return
        conditions.true("ConfigParsed")
        topic = f"knative-broker-{obj['metadata']['namespace']}-{obj['metadata']['name']}"
        if problem := await self._unreachable(servers.split(",")[0]):
            conditions.false("TopicReady", f"Failed to create topic: {topic}", problem)
            self.requeue_after(*key_of(obj), _AGAIN_SECONDS)
            return
        conditions.true("TopicReady", f"Topic {topic} created")
        self.check_service(obj, conditions, self.ingress, "DataPlaneAvailable")
        await self.hand_out_address(obj, conditions)

    async def _unreachable(self, server: str) -> str:
        """Return why a bootstrap server takes no connection; empty where it does."""
        host, _colon, port = server.strip().rpartition(":")
        place = self._resolve(host, int(port)) or (host, int(port))
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _reader, writer = await asyncio.open_connection(*place)
        except OSError as error:  # a TimeoutError, too
            return f"cannot obtain Kafka cluster admin: {server}: {error or 'timed out'}"
        writer.close()
        return ""
