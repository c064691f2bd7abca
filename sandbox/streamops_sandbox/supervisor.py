"""The one process that stays after `sandbox up`: Google, X, registry, releases, and the clusters.

`python -m streamops_sandbox.supervisor --home DIR --port P …` serves the applications from P on, one port each
(any free ports for 0), starts the clusters, writes `state.json` and prints one JSON line: {} or
{"error": …}. It stops when nobody reads that: the command that started it was interrupted or killed.
It is controlled through the socket in its folder:
GET /status, POST and DELETE /clusters {"name"}, POST /stop, and /google, /x and /networks as those
document them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import importlib
import json
import logging
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from streamops_sandbox import control_socket, eventloop
from streamops_sandbox.clusters import Clusters
from streamops_sandbox.control_socket import CONTROL
from streamops_sandbox.home import Home, SandboxError, State, write_private

logger = logging.getLogger(__name__)

SERVICES = ("google", "x", "registry", "releases", "networks")
#: The module of a service, where it is not NAME.app.
_MODULES = {"releases": "knative.release"}
_SHUTDOWN_SECONDS = 1.0


class Supervisor:
    """Serves the applications and keeps the clusters; an asynchronous context manager."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._home: Home = options.home
        self._urls: dict[str, str] = {}
        self._knative: dict[str, str] = {}  # newest release by project
        self._stack = contextlib.AsyncExitStack()
        self.clusters = Clusters(options.home, self._write_state, options.program)
        self.stopping = asyncio.Event()
        self._started = False

    async def __aenter__(self) -> Supervisor:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._started = False
        self._home.state_file.unlink(missing_ok=True)
        await self._stack.aclose()

    async def _start(self) -> None:
        self._home.supervise()
        sockets = _listen(self._options.address, self._options.port)
        self._urls = {
            name: "http://{}:{}".format(*listener.getsockname())
            for name, listener in sockets.items()
        }
        self._stack.push_async_callback(self.clusters.stop)
        control = control_socket.application(
            {
                "GET /status": lambda _: self._state(),
                "POST /clusters": self._post_cluster,
                "DELETE /clusters": self._delete_cluster,
                "POST /stop": lambda _: self.stopping.set(),
            }
        )
        for name, listener in sockets.items():
            app = self._application(name)
            if CONTROL in app:
                control.add_subapp(f"/{name}", app[CONTROL])
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
            await runner.setup()
            self._stack.push_async_callback(runner.cleanup)
            await web.SockSite(runner, listener).start()
        runner = await control_socket.serve(control, self._home)
        self._stack.push_async_callback(runner.cleanup)
        await asyncio.gather(*(self._create_cluster(name) for name in self._options.cluster))
        self._started = True
        self._write_state()

    def _application(self, name: str) -> web.Application:
        module = importlib.import_module(f"streamops_sandbox.{_MODULES.get(name, f'{name}.app')}")
        options: dict[str, Any] = {}
        if name == "google":
            options["clusters"] = self.clusters
        elif name == "x":
            options["posts"] = self._options.posts
        elif name == "registry":
            options["google_tokeninfo_url"] = f"{self._urls['google']}/tokeninfo"
        elif name == "releases":
            options["upstream"] = self._options.releases
            self._knative = module.newest(self._options.releases)
        app: web.Application = module.create_app(
            home=self._home.path, base_url=self._urls[name], **options
        )
        return app

    async def _create_cluster(self, name: str) -> None:
        try:
            await self.clusters.create(name)
        except (ValueError, RuntimeError) as error:
            raise SandboxError(str(error)) from None

    # -- control -----------------------------------------------------------------------------------

    async def _post_cluster(self, body: State) -> State:
        await self._create_cluster(body["name"])
        return self._state()

    async def _delete_cluster(self, body: State) -> State:
        name, running = body["name"], self.clusters.state()
        if name not in running:
            known = ", ".join(running) or "none"
            raise ValueError(f"--cluster {name}: there is no such cluster; running: {known}")
        if name in self.clusters.of_google:
            raise ValueError(f"--cluster {name}: it was created by Google's API; delete it there")
        await self.clusters.delete(name)
        return self._state()

    def _state(self) -> State:
        pid = os.getpid()
        clusters = self.clusters.state()
        pids = {"supervisor": pid, **{name: entry["pid"] for name, entry in clusters.items()}}
        return {
            "home": str(self._home.path),
            "port": self._options.port,
            "urls": self._urls,
            "knative": self._knative,
            "clusters": clusters,
            "pids": pids,
        }

    def _write_state(self) -> None:
        if self._started:
            write_private(self._home.state_file, self._state())


def _listen(address: str, port: int) -> dict[str, socket.socket]:
    sockets: dict[str, socket.socket] = {}
    for offset, name in enumerate(SERVICES):
        number = port + offset if port else 0
        # Clients take plain HTTP for granted with registries on loopback addresses only.
        host = "127.0.0.1" if name == "registry" else address
        try:
            sockets[name] = socket.create_server((host, number))
        except OSError as error:
            for other in sockets.values():
                other.close()
            reason = "is in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise SandboxError(
                f"port {number} (for {name}) {reason}. Stop what listens there, or choose others "
                f"with --port or SANDBOX_PORT: {len(SERVICES)} in a row are needed, 0 takes any "
                "free ones."
            ) from None
    return sockets


async def _run(options: argparse.Namespace, report: Callable[[State], None]) -> None:
    async with Supervisor(options) as supervisor:
        try:
            report({})
        except BrokenPipeError:
            logger.info("stopping: the command that started the sandbox has ended")
            return
        await supervisor.stopping.wait()


def main() -> int:
    """Run the supervisor."""
    parser = argparse.ArgumentParser(
        prog="python -m streamops_sandbox.supervisor", description=__doc__
    )
    parser.add_argument("--home", type=lambda path: Home(Path(path)), required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cluster", action="append", default=[])
    parser.add_argument("--posts", type=Path)
    # Where the services listen: pods with a network of their own cannot reach a loopback address.
    parser.add_argument("--address", default=os.environ.get("SANDBOX_ADDRESS") or "127.0.0.1")
    # Run for each cluster, with the arguments and promises of `streamops_sandbox.cluster`.
    program = os.environ.get("SANDBOX_CLUSTER_PROGRAM") or None
    parser.add_argument("--program", type=Path, default=program)
    # Upstream's release files, for clusters that run upstream's programs.
    releases = os.environ.get("SANDBOX_RELEASES") or None
    parser.add_argument("--releases", type=Path, default=releases)
    options = parser.parse_args()
    os.umask(0o077)
    eventloop.prepare()

    def report(answer: State) -> None:
        print(json.dumps(answer), flush=True)
        os.dup2(2, 1)  # the log: the pipe is not read any further

    try:
        asyncio.run(eventloop.until_told(_run(options, report)))
    except Exception as error:
        text = str(error)
        if not isinstance(error, SandboxError):
            logger.exception("the sandbox has to stop")
            text = f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError):
            report({"error": text})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
