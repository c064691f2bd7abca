"""The base of controllers: informers feed a queue of names, workers reconcile them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

import aiohttp

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.events import EventRecorder
from streamops_sandbox.informer import Informer
from streamops_sandbox.objects import Object

logger = logging.getLogger(__name__)

Key = tuple[str | None, str]

_FIRST_RETRY_SECONDS = 0.05
_LAST_RETRY_SECONDS = 30.0


class Controller:
    """Brings what is there closer to what is wanted, one object at a time.

    A subclass gives `reconcile` and, in its `__init__`, says by `watch`/`watch_owned` which
    changes concern which object. One object is never reconciled twice at the same time; changes
    while it is, or waits to be, make one more run. An exception is retried with growing delay.
    `events` are of the component `name`.
    """

    #: How many different objects are reconciled at the same time.
    workers = 4
    #: For how many seconds the changes of a watched object are collected into one reconciliation.
    settle_seconds = 0.0

    def __init__(self, client: Client, name: str | None = None) -> None:
        self.client = client
        self.name = name or type(self).__name__
        self.events = EventRecorder(client, self.name)
        self._informers: list[Informer] = []
        self._queue: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._running: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Reconcile the object of this name, which may be gone."""
        raise NotImplementedError

    def watch(
        self,
        informer: Informer,
        keys: Callable[[Object], Iterable[Key]] | None = None,
    ) -> Informer:
        """Reconcile the informer's objects whenever they change, or what `keys` names instead."""

        def on_event(_: str, obj: Object) -> None:
            for key in keys(obj) if keys else [key_of(obj)]:
                if self.settle_seconds:
                    self.requeue_after(*key, self.settle_seconds)
                else:
                    self.enqueue(*key)

        return self._register(informer, on_event)

    def watch_owned(self, informer: Informer, owner_kind: str) -> Informer:
        """Reconcile the `owner_kind` that controls (by ownerReference) the changed object."""

        def on_event(_: str, obj: Object) -> None:
            owner = controller_of(obj)
            if owner is not None and owner["kind"] == owner_kind:
                self.enqueue(obj["metadata"].get("namespace"), owner["name"])

        return self._register(informer, on_event)

    def enqueue(self, namespace: str | None, name: str) -> None:
        """Have an object reconciled soon."""
        key = (namespace, name)
        if key in self._running:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._queue.put_nowait(key)

    def requeue_after(self, namespace: str | None, name: str, seconds: float) -> None:
        """Have an object reconciled in some seconds; the earliest of several calls counts."""
        key = (namespace, name)
        loop = asyncio.get_running_loop()
        known = self._timers.get(key)
        if known is not None:
            if known.when() <= loop.time() + seconds:
                return
            known.cancel()
        self._timers[key] = loop.call_later(seconds, self._timer_fired, key)

    def come_again(self, obj: Object, seconds: float) -> None:
        """Have an object reconciled a moment after these seconds."""
        self.requeue_after(*key_of(obj), seconds + 0.1)

    async def run(self) -> None:
        """Work until cancelled."""
        for informer in self._informers:
            await informer.start()
        await asyncio.gather(*(informer.synced() for informer in self._informers))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.events.run())
                for _ in range(self.workers):
                    group.create_task(self._work(), name=self.name)
        finally:
            for timer in self._timers.values():
                timer.cancel()

    def _register(self, informer: Informer, on_event: Callable[[str, Object], None]) -> Informer:
        self._informers.append(informer)
        informer.subscribe(on_event)
        return informer

    def _timer_fired(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.enqueue(*key)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            self._waiting.discard(key)
            self._running.add(key)
            try:
                await self.reconcile(*key)
                self._failures.pop(key, None)
            except Exception as error:
                self._retry(key, error)
            finally:
                self._running.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.enqueue(*key)

    def _retry(self, key: Key, error: Exception) -> None:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.requeue_after(*key, min(_FIRST_RETRY_SECONDS * 2**failures, _LAST_RETRY_SECONDS))
        if isinstance(error, ApiError) and error.status in (404, 409):
            logger.debug("%s %s: %s", self.name, key, error)  # somebody was faster: normal
        elif isinstance(error, ApiError | aiohttp.ClientError | TimeoutError):
            logger.warning("%s %s: %s", self.name, key, error)
        else:
            logger.error("%s %s failed", self.name, key, exc_info=error)


def controller_of(obj: Object) -> Object | None:
    """Return the ownerReference of the object's controller, or None."""
    references = obj["metadata"].get("ownerReferences") or []
    return next((one for one in references if one.get("controller")), None)


def owner_reference(owner: Object) -> Object:
    """Return the ownerReference that makes `owner` the controller of another object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def key_of(obj: Object) -> Key:
    """Return an object's namespace, None outside of any, and name."""
    return obj["metadata"].get("namespace"), obj["metadata"]["name"]
