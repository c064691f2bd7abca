"""The client, informers and the controllers' base, against the API server itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.controller import Controller, controller_of, owner_reference
from streamops_sandbox.kube.server import ApiServer

Object = dict[str, Any]


def config_map(name: str, **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": data,
    }


def with_server(folder: Path, test: Callable[[Client, Object], Awaitable[None]]) -> None:
    """Run a test with a client of a new API server and the kubeconfig for more of them."""

    async def run() -> None:
        server = ApiServer(folder)
        await server.start()
        try:
            kubeconfig = server.admin_kubeconfig()
            async with Client(kubeconfig) as client:
                await asyncio.wait_for(test(client, kubeconfig), 60)
        finally:
            await server.stop()

    asyncio.run(run())


async def until(check: Callable[[], object]) -> None:
    while not check():  # noqa: ASYNC110 - some checks have no event
        await asyncio.sleep(0.02)


def test_objects_are_written_read_and_refused(tmp_path: Path) -> None:
    async def test(client: Client, _: Object) -> None:
        made = await client.create(config_map("one", a="1"))
        changed = await client.patch(made, {"data": {"b": "2"}})
        assert changed["data"] == {"a": "1", "b": "2"}
        with pytest.raises(ApiError) as error:
            await client.update({**made, "data": {}})
        assert (error.value.status, error.value.reason) == (409, "Conflict")
        with pytest.raises(ApiError) as error:
            await client.create(config_map("one"))
        assert error.value.already_exists
        applied = await client.apply(config_map("two", c="3"), field_manager="me")
        assert applied["metadata"]["managedFields"][0]["manager"] == "me"
        found = await client.list("v1", "ConfigMap", "default")
        assert {"c": "3"} in [obj["data"] for obj in found]
        assert found[0]["kind"] == "ConfigMap"
        await client.delete(made)
        with pytest.raises(ApiError) as error:
            await client.get("v1", "ConfigMap", "one", "default")
        assert error.value.not_found
        assert error.value.reason == "NotFound"
        with pytest.raises(ApiError, match="no kind Nothing"):
            await client.list("v1", "Nothing")

    with_server(tmp_path, test)


def test_an_informer_follows_and_knows_its_clients_own_writes_at_once(tmp_path: Path) -> None:
    async def test(client: Client, kubeconfig: Object) -> None:
        await client.create(config_map("before"))
        events: list[tuple[str, str]] = []
        informer = client.informer("v1", "ConfigMap", "default")
        assert client.informer("v1", "ConfigMap", "default") is informer
        informer.subscribe(lambda kind, obj: events.append((kind, obj["metadata"]["name"])))
        await informer.start()
        await informer.synced()
        assert informer.get("before", "default")
        made = await client.create(config_map("own"))
        assert informer.get("own", "default") == made, "seen before any watch event"
        async with Client(kubeconfig) as other:
            await other.create(config_map("others"))
            await until(lambda: informer.get("others", "default"))
            await other.delete(made)
            await until(lambda: informer.get("own", "default") is None)
        informer.observe(made)
        assert informer.get("own", "default") is None, "a late answer resurrected it"
        assert events == [
            ("ADDED", "before"),
            ("ADDED", "own"),
            ("ADDED", "others"),
            ("DELETED", "own"),
        ]

    with_server(tmp_path, test)


def test_an_informer_waits_for_a_kind_that_is_not_there_yet(tmp_path: Path) -> None:
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    }

    async def test(client: Client, _: Object) -> None:
        informer = client.informer("example.com/v1", "Thing")
        await informer.start()
        await informer.synced()
        assert informer.list() == []
        await client.create(crd)
        thing = {**config_map("thing"), "apiVersion": "example.com/v1", "kind": "Thing"}
        del thing["data"]
        created = False
        while not created:
            try:
                created = bool(await client.create(thing))
            except ApiError as error:  # the definition takes a moment to be established
                if not error.not_found:
                    raise
                await asyncio.sleep(0.05)
        await until(lambda: informer.get("thing", "default"))

    with_server(tmp_path, test)


class Recorder(Controller):
    """Notes what it is to reconcile; fails the first time, and comes again once."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.maps = self.watch(client.informer("v1", "ConfigMap", "default"))
        self.watch_owned(client.informer("v1", "Secret", "default"), "ConfigMap")
        self.seen: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        #: The first run lasts until it is set.
        self.go_on = asyncio.Event()

    async def reconcile(self, namespace: str | None, name: str) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.seen.append(name)
        await self.go_on.wait()
        await asyncio.sleep(0.05)
        self.at_once -= 1
        if self.seen.count(name) == 1:
            raise RuntimeError("the first time")
        if self.seen.count(name) == 2:
            self.requeue_after(namespace, name, 0.05)


def test_a_controller_retries_comes_again_and_never_works_twice_on_one_object(
    tmp_path: Path,
) -> None:
    async def test(client: Client, _: Object) -> None:
        controller = Recorder(client)
        running = asyncio.create_task(controller.run())
        owner = await client.create(config_map("one"))
        await until(lambda: controller.seen)
        for number in range(5):  # during the first run
            await client.patch(owner, {"data": {"n": str(number)}})
        await until(lambda: controller.maps.get("one", "default")["data"].get("n") == "4")
        controller.go_on.set()
        await until(lambda: len(controller.seen) >= 3)
        await asyncio.sleep(0.3)
        assert set(controller.seen) == {"one"}
        assert controller.most_at_once == 1
        calm = len(controller.seen)
        assert calm <= 6, "changes while it waits make one run"
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": "child",
                "namespace": "default",
                "ownerReferences": [owner_reference(owner)],
            },
        }
        made = await client.create(secret)
        assert controller_of(made) == owner_reference(owner)
        await until(lambda: len(controller.seen) > calm)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    with_server(tmp_path, test)
