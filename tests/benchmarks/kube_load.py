"""The sandbox's API server full of objects, with many watches on them: what it takes and how it answers."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from benchmarks._harness import Result, resident_mib
from support.kube import api_server

OBJECTS, WATCHES = 5000, 200
PATHS = ["/api/v1/configmaps"] * 2 + ["/api/v1/pods", "/apis/apps/v1/deployments"]
TEXT = "x" * 600  # a ConfigMap of ordinary size
Object = dict[str, Any]


def run() -> Result:
    """Fill it, watch it, and change one object that all watches see."""
    with tempfile.TemporaryDirectory() as home, api_server(Path(home)) as kube:
        before = resident_mib(kube.pid)
        figures = asyncio.run(_measure(yaml.safe_load(kube.kubeconfig.read_text()), kube.pid))
    return {
        "name": "kube_load",
        "summary": (
            f"{OBJECTS} objects and {WATCHES} watches: {figures['resident_mib']:.0f} MiB"
            f" (empty {before:.0f}); list of 1000 in {figures['list_ms']:.0f} ms, a change reaches"
            f" {WATCHES // 2} watches in {figures['fan_out_ms']:.0f} ms"
        ),
        "figures": {"empty_mib": before, **figures},
        "goals": {"5,000 objects and 200 watches under 300 MiB": figures["resident_mib"] < 300},
    }


async def _measure(kubeconfig: Object, pid: int) -> dict[str, float]:
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(_session(kubeconfig))
        begun = time.monotonic()
        await _fill(session)
        filling = time.monotonic() - begun
        watches = [
            await stack.enter_async_context(session.get(path, params={"watch": "true"}))
            for path in PATHS
            for _ in range(WATCHES // len(PATHS))
        ]
        await asyncio.gather(*(_drain(watch) for watch in watches))
        told = [watch for watch in watches if watch.url.path == PATHS[0]]
        listing = []
        for _ in range(5):
            begun = time.monotonic()
            async with session.get(PATHS[0], params={"limit": "1000"}) as answer:
                items = len((await answer.json())["items"])
            listing.append(time.monotonic() - begun)
            if items != 1000:
                raise RuntimeError(f"a list of 1000 has {items} items")
        reaching = [await _reach(session, told, number) for number in range(5)]
        return {
            "resident_mib": resident_mib(pid),
            "fill_seconds": filling,
            "list_ms": 1000 * statistics.median(listing),
            "fan_out_ms": 1000 * statistics.median(reaching),
        }


@asynccontextmanager
async def _session(kubeconfig: Object) -> AsyncIterator[aiohttp.ClientSession]:
    server, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
    authority = base64.b64decode(server["certificate-authority-data"]).decode()
    async with aiohttp.ClientSession(
        server["server"],
        headers={"Authorization": f"Bearer {user['token']}"},
        connector=aiohttp.TCPConnector(
            limit=WATCHES + 20, ssl=ssl.create_default_context(cadata=authority)
        ),
        timeout=aiohttp.ClientTimeout(total=120),
    ) as session:
        yield session


async def _fill(session: aiohttp.ClientSession) -> None:
    """Half ConfigMaps, a quarter pods, a quarter Deployments; eight writers."""
    queue = asyncio.Queue[tuple[str, Object]]()
    space = "namespaces/default"
    account = {"metadata": {"name": "default"}}
    await _create(session, f"/api/v1/{space}/serviceaccounts", account)
    for number in range(OBJECTS // len(PATHS)):
        for part in range(2):
            name = f"map-{number}-{part}"
            queue.put_nowait((f"/api/v1/{space}/configmaps", _config_map(name)))
        labels = {"app": f"app-{number}"}
        pod = {"metadata": {"labels": labels}, "spec": _POD}
        named = {"metadata": {"name": f"pod-{number}", "labels": labels}}
        queue.put_nowait((f"/api/v1/{space}/pods", pod | named))
        spec = {"selector": {"matchLabels": labels}, "template": pod}
        queue.put_nowait((f"/apis/apps/v1/{space}/deployments", named | {"spec": spec}))

    async def write() -> None:
        while not queue.empty():
            await _create(session, *queue.get_nowait())

    await asyncio.gather(*(write() for _ in range(8)))


_POD: Object = {
    "containers": [
        {
            "name": "main",
            "image": "registry.example.com/team/app:1.2.3",
            "ports": [{"containerPort": 8080, "name": "http"}],
            "env": [{"name": f"SETTING_{number}", "value": "some value"} for number in range(5)],
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
        }
    ]
}


def _config_map(name: str) -> Object:
    return {"metadata": {"name": name}, "data": {"text": TEXT}}


async def _create(session: aiohttp.ClientSession, path: str, body: Object) -> None:
    async with session.post(path, json=body) as answer:
        if answer.status != 201:
            raise RuntimeError(f"POST {path}: {answer.status} {await answer.text()}")


async def _drain(watch: aiohttp.ClientResponse) -> None:
    """Read what a watch begins with: all there is."""
    for _ in range(OBJECTS // len(PATHS) * PATHS.count(watch.url.path)):
        await watch.content.readuntil(b"\n")


async def _reach(
    session: aiohttp.ClientSession, watches: list[aiohttp.ClientResponse], number: int
) -> float:
    """Seconds from creating an object to the last watch having it."""
    begun = time.monotonic()
    await _create(session, "/api/v1/namespaces/default/configmaps", _config_map(f"new-{number}"))
    lines = await asyncio.gather(*(watch.content.readuntil(b"\n") for watch in watches))
    if any(json.loads(line)["type"] != "ADDED" for line in lines):
        raise RuntimeError("a watch saw something else than the new object")
    return time.monotonic() - begun
