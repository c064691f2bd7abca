"""The data plane of channel-based Brokers: cmd/broker/ingress and cmd/broker/filter.

The filter accepts an event (202) before it delivers it, and holds it in memory until then, as
upstream's dispatcher of in-memory channels does: what is under way when it ends is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from aiohttp import web

from streamops_sandbox.informer import Informer
from streamops_sandbox.knative import cloudevents
from streamops_sandbox.knative.cloudevents import Event
from streamops_sandbox.knative.delivery import Answer, Policy, dead_letter, send
from streamops_sandbox.knative.eventing import names
from streamops_sandbox.knative.filters import passes
from streamops_sandbox.knative.process import Process
from streamops_sandbox.node.context import ContainerContext
from streamops_sandbox.objects import Object

#: Extension that counts down how often an event may still enter a Broker.
_TTL, _FIRST_TTL = "knativebrokerttl", 255
_ARRIVAL = "knativearrivaltime"
PassOn = Callable[[Event, str, str], Awaitable[int]]
_ALLOWED = {"Allow": "POST"}


async def ingress(ctx: ContainerContext) -> int:
    """Run the ingress that all Brokers share."""
    async with Process(ctx) as process:
        brokers = await process.follow(names.EVENTING, "Broker")
        system = process.namespace

        async def to_filter(event: Event, namespace: str, name: str) -> int:
            url = f"http://{names.host(names.FILTER_SERVICE, system)}/{namespace}/{name}"
            return (await send(process.transport, event, url, Policy())).status

        await process.listen(int(ctx.env["INGRESS_PORT"]), Ingress(brokers, to_filter).answer)
        return await process.run()


async def filter_events(ctx: ContainerContext) -> int:
    """Run the filter that all Triggers share."""
    async with Process(ctx) as process, asyncio.TaskGroup() as tasks:
        brokers = await process.follow(names.EVENTING, "Broker")
        triggers = await process.follow(names.EVENTING, "Trigger")
        answer = TriggerFilter(process, brokers, triggers, tasks).answer
        await process.listen(int(ctx.env["FILTER_PORT"]), answer)
        return await process.run()


async def _accept(request: web.BaseRequest) -> tuple[str, str, Event] | web.Response:
    """Return the Broker's namespace and name and the event, or why there are none."""
    if request.path == "/healthz" and request.method == "GET":
        return web.Response()
    if request.method != "POST":
        return web.Response(status=405, headers=_ALLOWED)
    parts = request.path.strip("/").split("/")
    if len(parts) != 2:
        return web.Response(status=404 if request.path == "/" else 400, headers=_ALLOWED)
    try:
        return parts[0], parts[1], cloudevents.parse(request.headers, await request.read())
    except cloudevents.InvalidEvent as error:
        return web.Response(status=400, headers=_ALLOWED, text=f"{error}\n")


class Ingress:
    """Accepts events for Brokers at `/NAMESPACE/NAME`; `pass_on` returns the status to answer."""

    def __init__(self, brokers: Informer, pass_on: PassOn) -> None:
        self._brokers = brokers
        self._pass_on = pass_on

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Check a request for a valid event and a Broker that exists."""
        found = await _accept(request)
        if isinstance(found, web.Response):
            return found
        namespace, name, event = found
        broker = self._brokers.get(name, namespace)
        if broker is None:
            return web.Response(status=404, headers=_ALLOWED)
        if not (broker.get("status") or {}).get("address"):
            return web.Response(status=500, headers=_ALLOWED)
        ttl = event.attributes.get(_TTL)
        left = int(ttl) - 1 if ttl is not None and ttl.isdigit() else _FIRST_TTL
        if left <= 0:
            return web.Response(status=400, headers=_ALLOWED)
        event.attributes[_TTL] = str(left)
        event.attributes[_ARRIVAL] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return web.Response(status=await self._pass_on(event, namespace, name), headers=_ALLOWED)


class TriggerFilter:
    """Sends the events each Trigger asks for to its subscriber, and on what that answers."""

    def __init__(
        self, process: Process, brokers: Informer, triggers: Informer, tasks: asyncio.TaskGroup
    ) -> None:
        self._process = process
        self._brokers = brokers
        self._triggers = triggers
        self._tasks = tasks
        self._transport = process.transport

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Take an event at `/NAMESPACE/BROKER` for all the Broker's Triggers."""
        found = await _accept(request)
        if isinstance(found, web.Response):
            return found
        namespace, name, event = found
        return web.Response(status=await self.take(event, namespace, name))

    async def take(self, event: Event, namespace: str, name: str) -> int:
        """Begin to deliver an event of a Broker; return the status to answer."""
        broker = self._brokers.get(name, namespace)
        if broker is None:
            return 404
        for trigger in self._triggers.list(namespace):
            reference = trigger["spec"].get("brokerRef") or {}
            if (trigger["spec"].get("broker") or reference.get("name")) == name:
                self._tasks.create_task(self._deliver(event, trigger, broker))
        return 202

    async def _deliver(self, event: Event, trigger: Object, broker: Object) -> None:
        metadata, status = trigger["metadata"], trigger.get("status") or {}
        if not status.get("subscriberUri"):
            return
        attributes = {k: v for k, v in event.attributes.items() if k != _TTL}
        if not passes(trigger["spec"], attributes):
            return
        policy = Policy.read(trigger["spec"].get("delivery") or broker["spec"].get("delivery"))
        sent = Event(attributes, event.data)
        answer = await send(self._transport, sent, status["subscriberUri"], policy, replies=True)
        place = f"/triggers/{metadata['namespace']}/{metadata['name']}/{metadata['uid']}"
        target = f"http://{names.host(names.FILTER_SERVICE, self._process.namespace)}{place}"
        if answer.ok and answer.event is not None:
            answer.event.attributes[_TTL] = event.attributes.get(_TTL, "0")
            event, target = answer.event, broker["status"]["address"]["url"]
            answer = await send(self._transport, event, target, policy)
        if not answer.ok:
            await self._bury(event, target, answer, status.get("deadLetterSinkUri"), policy)

    async def _bury(
        self, event: Event, target: str, failure: Answer, sink: str | None, policy: Policy
    ) -> None:
        """Send what could not be delivered to the dead letter sink; without one it is lost."""
        answer = failure
        if sink:
            answer = await send(self._transport, dead_letter(event, target, failure), sink, policy)
        if not answer.ok:
            self._process.ctx.log(
                f"event {event.attributes['id']} lost: {sink or target} answered {answer.status}"
            )
