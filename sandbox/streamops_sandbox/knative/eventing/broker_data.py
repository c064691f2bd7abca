"""The data plane of channel-based Brokers: cmd/broker/ingress and cmd/broker/filter."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web

from streamops_sandbox.controller import Object
from streamops_sandbox.informer import Informer
from streamops_sandbox.knative import cloudevents
from streamops_sandbox.knative.cloudevents import Event
from streamops_sandbox.knative.delivery import Answer, Policy, Sender, passed_on
from streamops_sandbox.knative.eventing import names
from streamops_sandbox.knative.filters import Filter, compile_trigger
from streamops_sandbox.knative.process import Process
from streamops_sandbox.node.context import ContainerContext

#: Extension that counts down how often an event may still enter a Broker.
_TTL, _FIRST_TTL = "knativebrokerttl", 255
_ARRIVAL = "knativearrivaltime"
_ONCE = Policy()


async def ingress(ctx: ContainerContext) -> int:
    """Run the ingress that all Brokers share."""
    async with Process(ctx) as process:
        brokers = await _started(process.client.informer(names.EVENTING, "Broker"))
        await process.listen(int(ctx.env["INGRESS_PORT"]), Ingress(process, brokers).answer)
        return await process.run()


async def filter_events(ctx: ContainerContext) -> int:
    """Run the filter that all Triggers share."""
    async with Process(ctx) as process:
        triggers = await _started(process.client.informer(names.EVENTING, "Trigger"))
        await process.listen(int(ctx.env["FILTER_PORT"]), TriggerFilter(process, triggers).answer)
        return await process.run()


async def _started(informer: Informer) -> Informer:
    await informer.start()
    await informer.synced()
    return informer


class Ingress:
    """Accepts events for Brokers at `/NAMESPACE/NAME` and passes them to their channels."""

    def __init__(self, process: Process, brokers: Informer) -> None:
        self._process = process
        self._brokers = brokers
        self._sender = Sender(process.transport)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Check a request for a valid event and a Broker that exists."""
        if request.path == "/healthz" and request.method == "GET":
            return web.Response()
        headers = {"Allow": "POST, OPTIONS"}
        if request.method == "OPTIONS":
            return web.Response(
                headers={**headers, "WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "*"}
            )
        if request.method != "POST":
            return web.Response(status=405, headers=headers)
        parts = request.path.strip("/").split("/")
        if len(parts) != 2:
            return web.Response(status=404 if request.path == "/" else 400, headers=headers)
        try:
            event = cloudevents.parse(request.headers, await request.read())
        except cloudevents.InvalidEvent as error:
            self._process.ctx.log(f"{request.path}: {error}")
            return web.Response(status=400, headers=headers, text=f"{error}\n")
        event.headers.update(passed_on(request.headers))
        broker = self._brokers.get(parts[1], parts[0])
        status = await self._pass_on(event, broker)
        self._process.count("event_count")
        return web.Response(status=status, headers=headers)

    async def _pass_on(self, event: Event, broker: Object | None) -> int:
        if broker is None:
            return 404
        noted = (broker.get("status") or {}).get("annotations") or {}
        address = noted.get(names.CHANNEL_ADDRESS)
        if address is None:
            return 500
        ttl = event.attributes.get(_TTL)
        left = int(ttl) - 1 if ttl is not None and ttl.isdigit() else _FIRST_TTL
        if left <= 0:
            return 400
        event.attributes[_TTL] = str(left)
        moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        event.attributes[_ARRIVAL] = moment
        answer = await self._sender.send(event, address, _ONCE)
        return answer.status


class TriggerFilter:
    """Sends the events a Trigger asks for to its subscriber, and back what that answers."""

    def __init__(self, process: Process, triggers: Informer) -> None:
        self._process = process
        self._triggers = triggers
        self._sender = Sender(process.transport)
        self._filters: dict[str, Filter] = {}
        triggers.subscribe(self._changed)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer an event at `/triggers/NAMESPACE/NAME/UID`."""
        if request.path == "/healthz" and request.method == "GET":
            return web.Response()
        if request.method != "POST":
            return web.Response(status=405, headers={"Allow": "POST"})
        parts = request.path.strip("/").split("/")
        if len(parts) != 4 or parts[0] != "triggers":
            return web.Response(status=400)
        trigger = self._triggers.get(parts[2], parts[1])
        try:
            event = cloudevents.parse(request.headers, await request.read())
        except cloudevents.InvalidEvent:
            return web.Response(status=400)
        ttl = event.attributes.pop(_TTL, None)
        subscriber = ((trigger or {}).get("status") or {}).get("subscriberUri")
        if trigger is None or trigger["metadata"]["uid"] != parts[3] or not subscriber or not ttl:
            return web.Response(status=400)
        self._process.count("event_count")
        if not self._filters[parts[3]](event.attributes):
            return web.Response()
        timeout = Policy.read(trigger["spec"].get("delivery")).timeout
        headers = {**passed_on(request.headers), "Prefer": "reply"}
        answer = await self._sender.send(event, subscriber, Policy(timeout=timeout), headers)
        return _reply(answer, ttl)

    def _changed(self, event_type: str, trigger: Object) -> None:
        uid = trigger["metadata"]["uid"]
        if event_type == "DELETED":
            self._filters.pop(uid, None)
        else:
            self._filters[uid] = compile_trigger(trigger["spec"])


def _reply(answer: Answer, ttl: str) -> web.Response:
    """Pass on a subscriber's answer: an event, nothing, or (a failure) anything else."""
    kept = {k: v for k, v in answer.headers.items() if k.lower() == "retry-after"}
    if not answer.ok:
        return web.Response(status=answer.status, headers=kept, body=answer.body)
    if not cloudevents.is_event(answer.headers):
        return web.Response(status=502 if answer.body else answer.status, headers=kept)
    try:
        event = cloudevents.parse(answer.headers, answer.body)
    except cloudevents.InvalidEvent:
        return web.Response(status=502)
    event.attributes[_TTL] = ttl
    headers, body = event.to_http()
    return web.Response(status=answer.status, headers={**kept, **headers}, body=body)
