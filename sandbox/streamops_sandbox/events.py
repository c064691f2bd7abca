"""Events about objects, counted instead of repeated."""

from __future__ import annotations

import asyncio
import logging
import time

import aiohttp

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.objects import Object
from streamops_sandbox.timestamps import now

logger = logging.getLogger(__name__)

Key = tuple[str, str, str, str]  # the object's uid, reason, message, field path


class EventRecorder:
    """Writes Events in the background, in order; the same one again only raises its count."""

    def __init__(self, client: Client, component: str, host: str = "") -> None:
        self._client = client
        self._source = {"component": component} | ({"host": host} if host else {})
        self._queue: asyncio.Queue[tuple[Key, Object]] = asyncio.Queue()
        self._known: dict[Key, Object] = {}

    def record(
        self, obj: Object, event_type: str, reason: str, message: str, field_path: str = ""
    ) -> None:
        """Note that something happened to `obj`; `event_type` is "Normal" or "Warning"."""
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "default")
        involved = {
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            "name": metadata["name"],
            "namespace": metadata.get("namespace"),
            "uid": metadata["uid"],
            "resourceVersion": metadata.get("resourceVersion"),
            "fieldPath": field_path or None,
        }
        when = now()
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name']}.{time.time_ns():x}", "namespace": namespace},
            "involvedObject": {key: value for key, value in involved.items() if value},
            "type": event_type,
            "reason": reason,
            "message": message[:1024],
            "source": self._source,
            "firstTimestamp": when,
            "lastTimestamp": when,
            "count": 1,
            "reportingComponent": self._source["component"],
            "reportingInstance": self._source.get("host", ""),
        }
        self._queue.put_nowait(((metadata["uid"], reason, message, field_path), event))

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            item = await self._queue.get()
            try:
                await self._write(*item)
            except ApiError as error:
                # A namespace that is going away takes no more events.
                logger.debug("event lost: %s", error)
            except (aiohttp.ClientError, TimeoutError) as error:
                logger.warning("event lost: %s", error)

    async def _write(self, key: Key, event: Object) -> None:
        known = self._known.get(key)
        if known is not None:
            known["count"] += 1
            change = {"count": known["count"], "lastTimestamp": event["lastTimestamp"]}
            try:
                await self._client.patch(known, change)
                return
            except ApiError as error:
                if not error.not_found:
                    raise
        self._known[key] = await self._client.create(event)
        while len(self._known) > 1000:
            del self._known[next(iter(self._known))]
