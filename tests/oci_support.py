"""Registries to test against: the sandbox's own, in a thread, and Debian's docker-registry."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiohttp import web

from sandbox.registry import create_app


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


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
        user, _, password = base64.b64decode(auths[self.host]["auth"]).decode().partition(":")
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
    assert started.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
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
                "http": {"addr": f"127.0.0.1:{port}"},
            }
        )
    )
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=1).close()
                break
            assert process.poll() is None, (folder / "registry.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield Registry(f"127.0.0.1:{port}", folder)
    finally:
        process.terminate()
        process.wait(10)
