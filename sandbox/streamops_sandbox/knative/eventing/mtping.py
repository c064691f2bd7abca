"""cmd/mtping: fires the events of all PingSources."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import uuid
from datetime import UTC, datetime

from streamops_sandbox.controller import Controller, Object
from streamops_sandbox.knative.cloudevents import Event
from streamops_sandbox.knative.conditions import is_true
from streamops_sandbox.knative.delivery import Policy, Sender
from streamops_sandbox.knative.eventing import cron, names
from streamops_sandbox.knative.eventing.pingsource import EVENT_TYPE, event_source
from streamops_sandbox.knative.process import Process
from streamops_sandbox.node.context import ContainerContext

_POLICY = Policy(retry=5, delay=0.05)


async def main(ctx: ContainerContext) -> int:
    """Run the adapter."""
    async with Process(ctx) as process:
        runner = PingRunner(process)
        await process.answer_probes()
        return await process.run(runner.run())


class PingRunner(Controller):
    """One timer for each PingSource that has a sink."""

    def __init__(self, process: Process) -> None:
        super().__init__(process.client, "pings")
        self._process = process
        self._sender = Sender(process.transport)
        self._sources = self.watch(process.client.informer(names.SOURCES, "PingSource"))
        self._pings: dict[tuple[str | None, str], tuple[Object, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            await super().run()
        finally:
            for _, task in self._pings.values():
                task.cancel()

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Start, restart or stop one PingSource's timer."""
        source = self._sources.get(name, namespace)
        settings = self._settings(source)
        known = self._pings.get((namespace, name))
        if known is not None:
            if known[0] == settings:
                return
            known[1].cancel()
            del self._pings[namespace, name]
        if source is not None and settings:
            task = asyncio.create_task(self._fire(source), name=f"ping {namespace}/{name}")
            self._pings[namespace, name] = (settings, task)

    @staticmethod
    def _settings(source: Object | None) -> Object:
        """Return what a timer depends on; empty where there is nothing to fire or no sink."""
        if source is None or source["metadata"].get("deletionTimestamp"):
            return {}
        sink = (source.get("status") or {}).get("sinkUri")
        if not sink or not is_true(source, "SinkProvided"):
            return {}
        return {"spec": source["spec"], "sink": sink}

    async def _fire(self, source: Object) -> None:
        spec = source["spec"]
        schedule = cron.Schedule(spec["schedule"], spec.get("timezone") or "UTC")
        loop = asyncio.get_running_loop()
        moment = datetime.now(UTC)
        pending: set[asyncio.Task[None]] = set()
        with contextlib.suppress(ValueError):  # a schedule that never fires again
            while True:
                moment = schedule.after(max(moment, datetime.now(UTC)))
                await asyncio.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))
                task = loop.create_task(self._send(source))
                pending.add(task)
                task.add_done_callback(pending.discard)

    async def _send(self, source: Object) -> None:
        spec = source["spec"]
        attributes = {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "type": EVENT_TYPE,
            "source": event_source(source),
            "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            **((spec.get("ceOverrides") or {}).get("extensions") or {}),
        }
        data = (spec.get("data") or "").encode()
        if spec.get("dataBase64"):
            data = base64.b64decode(spec["dataBase64"])
        if data:
            attributes["datacontenttype"] = spec.get("contentType") or "application/json"
        answer = await self._sender.send(
            Event(attributes, data), source["status"]["sinkUri"], _POLICY
        )
        self._process.count("event_count")
        if not answer.ok:
            name = f"{source['metadata']['namespace']}/{source['metadata']['name']}"
            self._process.ctx.log(f"failed to send cloudevent of {name}: {answer.status}")
