"""Registries to test against: the sandbox's own, in a thread, and Debian's docker-registry."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests
from aiohttp import web
from support.ports import free_port

from streamops_sandbox.registry.app import create_app

_HOP_BY_HOP = {"host", "content-length", "connection", "transfer-encoding"}


class Registry:
    """Where a registry is: `host` (HOST:PORT) and, for the sandbox's, its docker config."""

    def __init__(self, host: str, home: Path) -> None:
        self.host = host
        self.url = f"http://{host}"
        self.home = home
        self.docker_config = home / "docker-config.json"

    @property
    def credentials(self) -> tuple[str, str]:
        auths = json.loads(self.docker_config.read_text())["auths"]
        entry = next(iter(auths.values()))
        user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        return user, password

    def environment(self) -> dict[str, str]:
        """Return an environment in which skopeo and buildah find the credentials."""
        return os.environ | {"REGISTRY_AUTH_FILE": str(self.docker_config)}


@contextlib.contextmanager
def serve(app: web.Application, port: int) -> Iterator[None]:
    """Serve an aiohttp application from a thread of its own, so that blocking clients can call."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    stop = asyncio.Event()

    async def main() -> None:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        started.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    assert started.wait(60)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.close()


@contextlib.contextmanager
def sandbox_registry(home: Path, port: int | None = None, **options: Any) -> Iterator[Registry]:
    """Run the sandbox's registry."""
    port = port or free_port()
    app = create_app(home=home, base_url=f"http://127.0.0.1:{port}", **options)
    with serve(app, port):
        yield Registry(f"127.0.0.1:{port}", home)


@contextlib.contextmanager
def debian_registry(folder: Path) -> Iterator[Registry]:
    """Run Debian's docker-registry (the reference implementation of the specification)."""
    port = free_port()
    config = folder / "registry.json"  # JSON is YAML
    config.write_text(
        json.dumps(
            {
                "version": "0.1",
                "log": {"level": "error", "accesslog": {"disabled": True}},
                "storage": {
                    "filesystem": {"rootdirectory": str(folder / "data")},
                    "delete": {"enabled": True},
                },
                "http": {"addr": f"127.0.0.1:{port}", "relativeurls": True},
            }
        )
    )
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=60).close()
                break
            assert process.poll() is None, (folder / "registry.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield Registry(f"127.0.0.1:{port}", folder)
    finally:
        process.terminate()
        process.wait(60)


#: Sees a request, and what the registry answered to it; its answer goes to the client instead.
#: None breaks the connection off in the middle of the answer.
Hook = Callable[[web.Request, web.Response], web.Response | None]
#: Sees a request before its body is read; true for one whose connection is lost halfway.
Interrupt = Callable[[web.Request], bool]


def _answer_as_it_is(_request: web.Request, answer: web.Response) -> web.Response:
    return answer


@contextlib.contextmanager
def proxy(
    registry: Registry,
    hook: Hook = _answer_as_it_is,
    interrupt: Interrupt = lambda _request: False,
) -> Iterator[Registry]:
    """Stand between a client and a registry, and spoil what goes through."""
    port = free_port()

    async def forward(request: web.Request) -> web.StreamResponse:
        if interrupt(request):
            await _lose_halfway(request, registry)
            return web.Response(status=502)  # nobody is there to read it
        body = await request.read()
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP}
        answer = await asyncio.to_thread(
            requests.request,
            request.method,
            f"{registry.url}{request.path_qs}",
            data=body,
            headers=headers,
            timeout=60,
        )
        kept = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP}
        changed = hook(
            request, web.Response(status=answer.status_code, headers=kept, body=answer.content)
        )
        if changed is not None:
            return changed
        response = web.StreamResponse(
            headers=kept | {"Content-Length": str(len(answer.content) or 1)}
        )
        await response.prepare(request)
        await response.write(answer.content[: len(answer.content) // 2])
        assert request.transport is not None
        request.transport.close()
        return response

    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", forward)
    with serve(app, port):
        home = registry.home / f"proxy-{port}"
        home.mkdir()
        spoilt = Registry(f"127.0.0.1:{port}", home)
        auths = {}
        if registry.docker_config.exists():
            auth = next(iter(json.loads(registry.docker_config.read_text())["auths"].values()))
            auths = dict.fromkeys((registry.host, spoilt.host), auth)
        spoilt.docker_config.write_text(json.dumps({"auths": auths}))
        yield spoilt


async def _lose_halfway(request: web.Request, registry: Registry) -> None:
    """Pass on half of a request's body, then close both connections."""
    host, _, port = registry.host.partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = [f"{request.method} {request.path_qs} HTTP/1.1", f"Host: {registry.host}"]
    kept = [(k, v) for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP]
    head += [f"{name}: {value}" for name, value in kept]
    length = request.content_length or 0
    head.append(f"Content-Length: {length}")
    writer.write("\r\n".join([*head, "", ""]).encode())
    left = length // 2
    while left > 0:
        chunk = await request.content.read(left)
        writer.write(chunk)
        left -= len(chunk)
    await writer.drain()
    writer.close()
    if request.transport:
        request.transport.abort()
