# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: Apache-2.0
"""Event source of ansible-rulebook that watches Kubernetes objects."""

from __future__ import annotations

DOCUMENTATION = r"""
---
short_description: Watch Kubernetes objects of a kind
description:
  - Hands the changes of objects over to the rules, and how long objects have not been ready.
  - An event has C(event.change) (C(ADDED), C(MODIFIED), C(DELETED) or C(NOT_READY)), C(event.kind),
    C(event.api_version), C(event.namespace), C(event.name), C(event.uid), C(event.new) (the object;
    null when it was deleted), C(event.old) (as it was before; null for a new one), C(event.ready)
    and C(event.reason), what it is not ready for.
  - Goes on where it stopped. Where the API server has forgotten the changes since (410), they are
    found by comparison.
  - With the options of the collection's modules for the connection, C(kubeconfig), C(context),
    C(host), C(api_key), C(ca_cert) and others; in a pod the service account needs C(list) and
    C(watch).
  - Needs ansible-core and the Python packages urllib3 and PyYAML, in the Python that runs
    ansible-rulebook.
extends_documentation_fragment: streamops.knative.kubernetes
options:
  api_version:
    description: The apiVersion of the objects, for example V(sources.knative.dev/v1).
    type: str
    required: true
  kind:
    description: Their kind.
    type: str
    required: true
  namespace:
    description: Their namespace. Without it, those of all namespaces.
    type: str
  name:
    description: Name of the only object to watch.
    type: str
  label_selectors:
    description: Label selectors, for example V(app=viewer); all of them have to match.
    type: list
    elements: str
    default: []
  field_selectors:
    description: Field selectors; all of them have to match.
    type: list
    elements: str
    default: []
  changes:
    description: Which changes are events.
    type: list
    elements: str
    choices: [ADDED, MODIFIED, DELETED, NOT_READY]
    default: [ADDED, MODIFIED, DELETED, NOT_READY]
  not_ready_seconds:
    description: >-
      Time after which an object that is not ready is a C(NOT_READY) event, one each time it gets
      into that state.
    type: float
    default: 300
  existing:
    description: Whether objects that are there at the first start are C(ADDED) events.
    type: bool
    default: true
  state_file:
    description:
      - SQLite file that keeps the last resourceVersion and the objects, so that a restarted rulebook
        goes on where it was. Only its owner can read it.
      - Without it, each start is a first one.
    type: path
  jinja:
    description:
      - What becomes of Jinja expressions in an event.
      - V(neutralise) puts a space into C({{), C({%) and C({#), so that they are text for Ansible.
      - V(keep) leaves them. Ansible then evaluates them where a playbook uses the event, with all
        its lookups. Only for senders that may run anything on this machine.
    type: str
    choices: [neutralise, keep]
    default: neutralise
  max_objects:
    description: Objects that may match, since all are kept in memory; more are an error.
    type: int
    default: 10000
  feedback:
    description: >-
      Take a change for handed over only after the rule engine has taken it and stored what it matches,
      as with C(streamops.knative.cloudevents).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Bindings that stay unready
  hosts: all
  sources:
    - streamops.knative.resource:
        api_version: sources.knative.dev/v1
        kind: SinkBinding
        changes: [NOT_READY]
        not_ready_seconds: 300
        state_file: /var/lib/rulebook/bindings.db
  rules:
    - name: Verify the pipelines
      condition: event.change == "NOT_READY"
      action:
        run_playbook:
          name: streamops.knative.verify
"""

import asyncio
import contextlib
import json
import logging
import os
import random
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

# ansible-rulebook runs this file by its path, ANSIBLE_COLLECTIONS/streamops/knative/extensions/eda/…
_ROOT = str(Path(__file__).absolute().parents[7])
if _ROOT not in sys.path:
    sys.path.append(_ROOT)
try:
    from ansible_collections.streamops.knative.plugins.module_utils._event_source import (
        OptionError,
        Unfit,
        for_rules,
        options,
    )
    from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.argspec import (
        CONNECTION,
    )
    from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.client import (
        GONE,
        Client,
        Resource,
    )
    from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.config import load
    from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import (
        ApiError,
        KubeError,
    )
    from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.readiness import (
        verdict,
    )
    from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.transport import (
        Transport,
    )
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"streamops.knative.resource needs the Python package {missing.name}, installed for"
        f" {sys.executable}: pip install ansible-core urllib3 PyYAML"
    ) from missing

log = logging.getLogger("streamops.knative.resource")

Object = dict[str, Any]

WATCH_SECONDS = 60
#: Seconds between two tries after a failure, doubled up to the second.
PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: Changes that wait for the rules; the watch is read no faster.
PENDING = 100


class Queue(Protocol):
    """The queue of a rule set, as ansible-rulebook gives it to its sources."""

    async def put(self, data: Any) -> None:
        """Return once the rule set has room for an event."""


class State:
    """The objects as they were handed over, and the resourceVersion to go on from."""

    def __init__(self, path: str | None, watched: str) -> None:
        self.objects: dict[str, Object] = {}
        self.version = ""
        try:
            if path:
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            # In the loop's thread only.
            self._database = sqlite3.connect(path or ":memory:", isolation_level=None)
            self._read(watched)
        except (OSError, sqlite3.Error) as error:
            raise OptionError(f"state_file {path} cannot be used: {error}") from None
        self._kept = bool(path)

    def _read(self, watched: str) -> None:
        self._database.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
            "CREATE TABLE IF NOT EXISTS watched (selection TEXT, version TEXT);"
            "CREATE TABLE IF NOT EXISTS objects (uid TEXT PRIMARY KEY, object TEXT);"
        )
        row = self._database.execute("SELECT selection, version FROM watched").fetchone()
        if row is None or row[0] != watched:
            # Another selection's objects would look like deleted ones.
            self._database.execute("DELETE FROM objects")
            self._database.execute("DELETE FROM watched")
            self._database.execute("INSERT INTO watched VALUES (?, '')", (watched,))
            return
        self.version = row[1]
        rows = self._database.execute("SELECT uid, object FROM objects")
        self.objects = {uid: json.loads(text) for uid, text in rows}

    def set(self, uid: str, obj: Object | None) -> None:
        """Note an object, None when it is gone."""
        if obj is None:
            self.objects.pop(uid, None)
        else:
            self.objects[uid] = obj
        if not self._kept:
            return
        if obj is None:
            self._database.execute("DELETE FROM objects WHERE uid = ?", (uid,))
        else:
            self._database.execute(
                "INSERT OR REPLACE INTO objects VALUES (?, ?)", (uid, json.dumps(obj))
            )

    def advance(self, version: str) -> None:
        """Note the resourceVersion up to which everything was handed over."""
        self.version = version
        if self._kept:
            self._database.execute("UPDATE watched SET version = ?", (version,))

    def close(self) -> None:
        """Close the file."""
        self._database.close()


@dataclass
class Selection:
    """What is watched."""

    resource: Resource
    namespace: str | None
    label_selector: str
    field_selector: str

    def snapshot(self, client: Client) -> tuple[list[Object], str]:
        """Return the objects, and the resourceVersion of the list."""
        return client.snapshot(
            self.resource,
            self.namespace,
            label_selector=self.label_selector,
            field_selector=self.field_selector,
        )


class _Stopped(Exception):
    """Ends the thread of a watch."""


class Watch:
    """Reads the API server in a thread of its own; puts what it finds into the loop's mailbox.

    A message is `("SNAPSHOT", (objects, version))`, `("CHANGE", event of a watch)` or, as the last
    one, `("FAILED", error)`.
    """

    def __init__(self, settings: SimpleNamespace, version: str) -> None:
        self.mailbox: asyncio.Queue[tuple[str, Any]] = asyncio.Queue(PENDING)
        self._settings = settings
        self._version = version
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()
        timeout = settings.request_timeout
        config = load(vars(settings))
        self._client = Client(Transport(config, timeout=timeout))
        self._watcher = Client(Transport(config, timeout=WATCH_SECONDS + timeout))
        # It may be waiting for the API server when the rulebook ends.
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._watcher.transport.close()

    def _run(self) -> None:
        try:
            self._follow(self._selection())
        except _Stopped:
            return
        except Exception as error:
            with contextlib.suppress(_Stopped):
                self._send("FAILED", error)

    def _send(self, kind: str, content: Any) -> None:
        if self._stopped.is_set():
            raise _Stopped
        sending = self.mailbox.put((kind, content))
        try:
            asyncio.run_coroutine_threadsafe(sending, self._loop).result()
        except (RuntimeError, asyncio.CancelledError):  # the loop has ended
            sending.close()
            raise _Stopped from None

    def _selection(self) -> Selection:
        settings = self._settings
        fields = list(settings.field_selectors)
        if settings.name:
            fields.append(f"metadata.name={settings.name}")
        return Selection(
            self._client.resource(settings.api_version, settings.kind),
            settings.namespace,
            ",".join(settings.label_selectors),
            ",".join(fields),
        )

    def _follow(self, selection: Selection) -> None:
        pause, reached = PAUSE, False
        while not self._stopped.is_set():
            try:
                if not self._version:
                    objects, version = selection.snapshot(self._client)
                    self._send("SNAPSHOT", (objects, version))
                    self._version = version
                reached = True
                self._read_changes(selection)
                pause = PAUSE
            except KubeError as error:
                if isinstance(error, ApiError) and error.status == GONE:
                    self._version = ""
                    continue
                if self._stopped.is_set():
                    return
                # What was watched once will be again; at the start a person has to know.
                if not (reached or error.is_transient):
                    raise
                log.warning("the watch is tried again in %.1f s: %s", pause, error)
                time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
                pause = min(pause * 2, LONGEST_PAUSE)

    def _read_changes(self, selection: Selection) -> None:
        changes = self._watcher.watch(
            selection.resource,
            self._version,
            selection.namespace,
            label_selector=selection.label_selector,
            field_selector=selection.field_selector,
            seconds=WATCH_SECONDS,
        )
        with contextlib.closing(changes):  # type: ignore[type-var] # a generator
            for change in changes:
                self._send("CHANGE", change)
                self._version = change["object"]["metadata"]["resourceVersion"]


class Rules:
    """Hands changes over to the rulebook."""

    def __init__(
        self, queue: Queue, settings: SimpleNamespace, state: State, feedback: Any
    ) -> None:
        self._queue = queue
        self._settings = settings
        self._state = state
        self._feedback = feedback
        #: Objects that are not ready: since when, by the clock, and whether that was an event.
        self._unready: dict[str, tuple[float, bool]] = {}
        for obj in state.objects.values():
            self._note_readiness(obj)

    async def take_snapshot(self, objects: list[Object], version: str) -> None:
        """Hand over how a list differs from what is known."""
        first = not self._state.version and not self._state.objects
        found = {obj["metadata"]["uid"]: obj for obj in objects}
        for uid in [uid for uid in self._state.objects if uid not in found]:
            await self._take("DELETED", self._state.objects[uid])
        for uid, obj in found.items():
            old = self._state.objects.get(uid)
            if old is None:
                await self._take("ADDED", obj, silently=first and not self._settings.existing)
            elif old["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                await self._take("MODIFIED", obj)
        self._state.advance(version)

    async def take_change(self, change: Object) -> None:
        """Hand over an event of a watch."""
        obj = change["object"]
        if change["type"] != "BOOKMARK":
            await self._take(change["type"], obj)
        self._state.advance(obj["metadata"]["resourceVersion"])

    async def _take(self, change: str, obj: Object, *, silently: bool = False) -> None:
        metadata = obj["metadata"]
        uid = metadata["uid"]
        metadata.pop("managedFields", None)
        old = self._state.objects.get(uid)
        if change == "MODIFIED" and old is None:
            change = "ADDED"  # it came before it matched the selectors
        if change == "ADDED" and old is not None:
            # Seen already: the last start handed it over, and was killed before it noted so.
            if old["metadata"]["resourceVersion"] == metadata["resourceVersion"]:
                return
            change = "MODIFIED"
        if len(self._state.objects) >= self._settings.max_objects and old is None:
            raise OptionError(
                f"more than {self._settings.max_objects} objects match: select fewer, or raise"
                " max_objects"
            )
        if not silently:
            await self._put(change, obj, old)
        if change == "DELETED":
            self._unready.pop(uid, None)
            self._state.set(uid, None)
        else:
            self._note_readiness(obj)
            self._state.set(uid, obj)

    def _note_readiness(self, obj: Object) -> None:
        uid = obj["metadata"]["uid"]
        if not verdict(obj).missing:
            self._unready.pop(uid, None)
        elif uid not in self._unready:
            self._unready[uid] = (_unready_since(obj), False)

    async def report_unready(self) -> None:
        """Hand over which objects have not been ready for the time that is set."""
        limit = self._settings.not_ready_seconds
        for uid, (since, reported) in list(self._unready.items()):
            if not reported and time.time() - since >= limit:
                self._unready[uid] = (since, True)
                obj = self._state.objects[uid]
                await self._put("NOT_READY", obj, obj)

    def seconds_to_next(self) -> float:
        """Return after how many seconds an object may have been unready for long enough."""
        limit = self._settings.not_ready_seconds
        waiting = (since for since, reported in self._unready.values() if not reported)
        due: float = min(waiting, default=time.time() + 3600) + limit
        return max(0.05, due - time.time())

    async def _put(self, change: str, obj: Object, old: Object | None) -> None:
        if change not in self._settings.changes:
            return
        metadata = obj["metadata"]
        missing = verdict(obj).missing
        identity = f"{change}/{metadata['uid']}/{metadata['resourceVersion']}"
        event: dict[str, Any] = {
            "change": change,
            "api_version": self._settings.api_version,
            "kind": self._settings.kind,
            "namespace": metadata.get("namespace", ""),
            "name": metadata["name"],
            "uid": metadata["uid"],
            "new": None if change == "DELETED" else obj,
            "old": obj if change == "DELETED" else old,
            "ready": change != "DELETED" and not missing,
            "reason": missing,
            "meta": {"uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, identity))},
        }
        keep_jinja = self._settings.jinja == "keep"
        try:
            event = for_rules(event, keep_jinja=keep_jinja)
        except Unfit as error:
            log.warning("%s %s: its metadata only: %s", event["kind"], event["name"], error)
            for side in ("new", "old"):
                event[side] = event[side] and {"metadata": event[side]["metadata"]}
            event = for_rules(event, keep_jinja=keep_jinja)
        await self._queue.put(event)
        while self._feedback is not None:
            if (await self._feedback.get())["meta"]["uuid"] == event["meta"]["uuid"]:
                break


def _unready_since(obj: Object) -> float:
    """Return when an object's Ready condition became what it is, or else now; seconds since 1970."""
    for condition in (obj.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "Ready" and condition.get("status") != "True":
            with contextlib.suppress(KeyError, ValueError, TypeError):
                return datetime.fromisoformat(condition["lastTransitionTime"]).timestamp()
    return time.time()


def check(arguments: dict[str, Any]) -> SimpleNamespace:
    """Return the options of a rulebook; raises OptionError naming what is wrong."""
    given = options(DOCUMENTATION, arguments, CONNECTION)
    for name in ("max_objects", "request_timeout"):
        if given[name] <= 0:
            raise OptionError(f"{name} is {given[name]}: it has to be more than 0")
    if content := given.get("kubeconfig_content"):
        given["kubeconfig"] = json.loads(content)
    return SimpleNamespace(**given)


async def main(queue: Queue, args: dict[str, Any]) -> None:
    """Watch until ansible-rulebook stops this source."""
    arguments = dict(args)
    feedback = arguments.pop("eda_feedback_queue", None)
    settings = check(arguments)
    names = ("api_version", "kind", "namespace", "name", "label_selectors", "field_selectors")
    watched = json.dumps([getattr(settings, name) for name in names])
    state = State(settings.state_file, watched)
    rules = Rules(queue, settings, state, feedback)
    watch = Watch(settings, state.version)
    take: dict[str, Callable[[Any], Any]] = {
        "SNAPSHOT": lambda content: rules.take_snapshot(*content),
        "CHANGE": rules.take_change,
    }
    try:
        while True:
            try:
                async with asyncio.timeout(rules.seconds_to_next()):
                    kind, content = await watch.mailbox.get()
            except TimeoutError:
                await rules.report_unready()
                continue
            if kind == "FAILED":
                raise content
            await take[kind](content)
            await rules.report_unready()
    finally:
        watch.stop()
        state.close()
