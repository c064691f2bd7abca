"""cmd/in_memory/channel_dispatcher: takes events for in-memory channels and fans them out.

An event is accepted (202) before it is delivered and held in memory until then, like upstream: what
is under way when the dispatcher ends is lost.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Controller, Object
from streamops_sandbox.knative import cloudevents
from streamops_sandbox.knative.cloudevents import Event
from streamops_sandbox.knative.delivery import DeliveryFailed, Policy, Sender, passed_on
from streamops_sandbox.knative.eventing import names
from streamops_sandbox.knative.process import Process
from streamops_sandbox.node.context import ContainerContext


@dataclass(frozen=True)
class Subscriber:
    """Where a channel's events go and how hard to try."""

    url: str | None
    reply: str | None
    dead_letter: str | None
    policy: Policy

    @classmethod
    def read(cls, entry: Object) -> Subscriber:
        """Read an entry of `spec.subscribers`."""
        delivery = entry.get("delivery") or {}
        return cls(
            url=entry.get("subscriberUri"),
            reply=entry.get("replyUri"),
            dead_letter=(delivery.get("deadLetterSink") or {}).get("uri"),
            policy=Policy.read(delivery),
        )


async def main(ctx: ContainerContext) -> int:
    """Run the dispatcher."""
    async with Process(ctx) as process:
        dispatcher = Dispatcher(process)
        channels = SubscriberStatus(process.client, dispatcher)
        await process.listen(8080, dispatcher.answer)
        async with asyncio.TaskGroup() as group:
            dispatcher.tasks = group
            return await process.run(channels.run())


class Dispatcher:
    """The receivers of all channels, by the host name events are sent to."""

    tasks: asyncio.TaskGroup

    def __init__(self, process: Process) -> None:
        self._process = process
        self._sender = Sender(process.transport)
        self._channels: dict[str, list[Subscriber]] = {}

    def set_channel(self, host: str, subscribers: list[Subscriber] | None) -> None:
        """Put in or, with None, take out the channel of a host."""
        if subscribers is None:
            self._channels.pop(host, None)
        else:
            self._channels[host] = subscribers

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Accept an event for the channel that the Host header names."""
        if request.path == "/healthz" and request.method == "GET":
            return web.Response()
        if request.method != "POST":
            return web.Response(status=405, headers={"Allow": "POST, OPTIONS"})
        subscribers = self._channels.get((request.host or "").partition(":")[0])
        if subscribers is None:
            return web.Response(status=404)
        try:
            event = cloudevents.parse(request.headers, await request.read())
        except cloudevents.InvalidEvent as error:
            return web.Response(status=400, text=f"{error}\n")
        event.headers.update(passed_on(request.headers))
        self._process.count("event_count")
        for subscriber in subscribers:
            self.tasks.create_task(self._deliver(event, subscriber))
        return web.Response(status=202)

    async def _deliver(self, event: Event, subscriber: Subscriber) -> None:
        try:
            await self._sender.deliver(
                event,
                subscriber.policy,
                subscriber=subscriber.url,
                reply=subscriber.reply,
                dead_letter=subscriber.dead_letter,
            )
        except DeliveryFailed as failure:
            self._process.count("event_lost_total")
            self._process.ctx.log(f"event {event.attributes['id']} lost: {failure}")


class SubscriberStatus(Controller):
    """Feeds the dispatcher and tells each channel which of its subscribers are served."""

    def __init__(self, client: Client, dispatcher: Dispatcher) -> None:
        super().__init__(client, "in-memory channels")
        self._dispatcher = dispatcher
        self._channels = self.watch(client.informer(names.MESSAGING, "InMemoryChannel"))

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Take over one channel's subscribers."""
        host = names.host(names.child(name, "-kn-channel"), str(namespace))
        channel = self._channels.get(name, namespace)
        if channel is None:
            self._dispatcher.set_channel(host, None)
            return
        entries = channel["spec"].get("subscribers") or []
        self._dispatcher.set_channel(host, [Subscriber.read(entry) for entry in entries])
        states = [
            {"uid": entry["uid"], "observedGeneration": entry.get("generation"), "ready": "True"}
            for entry in entries
        ]
        if states != ((channel.get("status") or {}).get("subscribers") or []):
            await self.client.patch(
                names.MESSAGING,
                "InMemoryChannel",
                name,
                namespace,
                {"status": {"subscribers": states}},
                subresource="status",
            )
