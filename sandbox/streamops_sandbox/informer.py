"""A local copy of the objects of one kind, kept up to date by a watch."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable

import aiohttp

from streamops_sandbox.objects import Object

logger = logging.getLogger(__name__)

Objects = list[Object]
Key = tuple[str | None, str]
#: Called with "ADDED", "MODIFIED" or "DELETED" and the object.
Callback = Callable[[str, Object], None]
#: Returns all objects and the resourceVersion from which a watch continues.
List = Callable[[], Awaitable[tuple[Objects, str]]]
#: Opens a watch from a resourceVersion on, for about so many seconds.
Watch = Callable[[str, int], Awaitable[aiohttp.ClientResponse]]

_RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_STEADY_SECONDS = 10.0
_WATCH_SECONDS = 300
_REMEMBERED = 1000


class Informer:
    """Lists a kind, then watches it; lists again where the watch broke off.

    A kind the server does not know (yet) counts as one without objects, and is asked for again
    every few seconds. Get one from `Client.informer`. Objects are shared: never change them.
    """

    def __init__(self, api_version: str, kind: str, list_objects: List, watch: Watch) -> None:
        self.api_version = api_version
        self.kind = kind
        self._list = list_objects
        self._watch = watch
        self._objects: dict[str | None, dict[str, Object]] = {}  # by namespace
        self._gone: dict[str, None] = {}  # uids, the oldest first
        self._callbacks: list[Callback] = []
        self._synced = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to watch; does nothing where it was called before."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"informer {self.kind}")

    async def stop(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def synced(self) -> None:
        """Wait until the first list is in."""
        await self._synced.wait()

    def get(self, name: str, namespace: str | None = None) -> Object | None:
        """Return an object as last seen, or None."""
        return self._objects.get(namespace, {}).get(name)

    def list(self, namespace: str | None = None) -> Objects:
        """Return the objects of a namespace, or of all."""
        found = self._objects.values() if namespace is None else [self._objects.get(namespace, {})]
        return [obj for objects in found for obj in objects.values()]

    def subscribe(self, callback: Callback) -> None:
        """Call `callback` for every change from now on, and at once for what is there."""
        self._callbacks.append(callback)
        for obj in self.list():
            _call(callback, "ADDED", obj)

    def observe(self, obj: Object) -> None:
        """Take over an object that was seen elsewhere, where it is newer than the known one.

        The answer to a write may come after the watch has told of the object's deletion: what is
        gone stays gone.
        """
        if self._synced.is_set() and obj["metadata"]["uid"] not in self._gone:
            self._store(obj)

    async def _run(self) -> None:
        failures = 0
        while True:
            begun = time.monotonic()
            try:
                items, version = await self._list()
                self._replace(items)
                self._synced.set()
                await self._follow(version)
                failures = 0
            except asyncio.CancelledError:
                raise
            except Exception as error:
                if getattr(error, "status", None) == 404:
                    self._replace([])
                    self._synced.set()
                elif not isinstance(error, aiohttp.ClientError | TimeoutError | OSError):
                    logger.warning("informer of %s: %s", self.kind, error)
                if time.monotonic() - begun > _STEADY_SECONDS:
                    failures = 0
                delay = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)]
                failures += 1
                await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311 - no secret

    async def _follow(self, version: str) -> None:
        """Watch from `version` on; returns where a new list is needed."""
        while True:
            seconds = int(_WATCH_SECONDS * random.uniform(1, 2))  # noqa: S311 - no secret
            response = await self._watch(version, seconds)
            try:
                while line := await response.content.readline():
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        return
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] == "DELETED":
                        self._remove(event["object"])
                    elif event["type"] in ("ADDED", "MODIFIED"):
                        self._store(event["object"])
            finally:
                response.close()

    def _replace(self, items: Objects) -> None:
        keys = {_key(item) for item in items}
        for obj in self.list():
            if _key(obj) not in keys:
                self._remove(obj)
        for item in items:
            self._store(item)

    def _store(self, obj: Object) -> None:
        namespace, name = _key(obj)
        known = self.get(name, namespace)
        if known is not None and not _newer(obj, known):
            return
        if known is not None and known["metadata"]["uid"] != obj["metadata"]["uid"]:
            self._notify("DELETED", known)
            known = None
        self._objects.setdefault(namespace, {})[name] = obj
        self._notify("ADDED" if known is None else "MODIFIED", obj)

    def _remove(self, obj: Object) -> None:
        (namespace, name), uid = _key(obj), obj["metadata"]["uid"]
        self._gone[uid] = None
        if len(self._gone) > _REMEMBERED:
            del self._gone[next(iter(self._gone))]
        known = self.get(name, namespace)
        if known is None or known["metadata"]["uid"] != uid:
            return
        del self._objects[namespace][name]
        self._notify("DELETED", obj)

    def _notify(self, event_type: str, obj: Object) -> None:
        for callback in self._callbacks:
            _call(callback, event_type, obj)


def _call(callback: Callback, event_type: str, obj: Object) -> None:
    try:
        callback(event_type, obj)
    except Exception:
        logger.exception("a subscriber of %s failed", obj.get("kind"))


def _key(obj: Object) -> Key:
    metadata = obj["metadata"]
    return metadata.get("namespace"), metadata["name"]


def _newer(obj: Object, known: Object) -> bool:
    """Compare resourceVersions: growing integers, since Kubernetes 1.35 by contract."""
    try:
        return int(obj["metadata"]["resourceVersion"]) > int(known["metadata"]["resourceVersion"])
    except (KeyError, ValueError):
        return True
