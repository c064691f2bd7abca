"""One cluster as a process: API server, controllers, scheduler and node on one event loop.

`python -m streamops_sandbox.cluster --name NAME --folder DIR` writes `DIR/kubeconfig` and then `ready` and a
newline to its standard output, and runs until SIGTERM, or until its standard input is closed: it
does not outlive who started it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from streamops_sandbox import attach, eventloop
from streamops_sandbox.client import Client
from streamops_sandbox.controllers import manager
from streamops_sandbox.events import EventRecorder
from streamops_sandbox.kube.server import ApiServer
from streamops_sandbox.node.agent import NodeAgent, NodeConfig
from streamops_sandbox.node.container import Backoff
from streamops_sandbox.node.metadata import GoogleProject
from streamops_sandbox.node.network import Network
from streamops_sandbox.node.scheduler import Scheduler


@dataclass(frozen=True)
class ClusterConfig:
    """What a cluster is made of; see `streamops_sandbox.clusters.ClusterManager` for Google's part."""

    name: str
    folder: Path
    google_url: str = ""
    google_project: str = ""
    google_project_number: str = ""
    google_location: str = ""
    backoff: Backoff = field(default_factory=Backoff)


class ClusterRunner:
    """Runs a cluster on the current event loop; an asynchronous context manager."""

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config
        self._network = Network.reserve()
        self._tasks: list[asyncio.Task[None]] = []
        tokeninfo = f"{config.google_url}/tokeninfo" if config.google_url else None
        self.server = ApiServer(
            config.folder / "kube",
            google_tokeninfo_url=tokeninfo,
            service_cidr=self._network.service_cidr,
        )

    @property
    def kubeconfig(self) -> Path:
        """The file that gives access as administrator."""
        return self._config.folder / "kubeconfig"

    async def __aenter__(self) -> ClusterRunner:
        await self.server.start()
        kubeconfig = self.server.admin_kubeconfig()
        _write_private(self.kubeconfig, yaml.safe_dump(kubeconfig))
        self._client = await Client.from_kubeconfig(
            kubeconfig, user_agent="kube-controller-manager"
        )
        self._node_client = await Client.from_kubeconfig(kubeconfig, user_agent="kubelet")
        ca_pem = self.server.ca_file.read_text(encoding="ascii")
        config = NodeConfig(
            folder=self._config.folder / "node",
            ca_file=self.server.ca_file,
            ca_key_file=self.server.ca_key_file,
            backoff=self._config.backoff,
            google=self._google(),
        )
        self.node = NodeAgent(self._node_client, kubeconfig, self._network, config)
        events = EventRecorder(self._client, "default-scheduler")
        self._tasks = [
            asyncio.create_task(manager.run(self._client, ca_pem)),
            asyncio.create_task(events.run()),
            asyncio.create_task(Scheduler(self._client, events).run()),
            asyncio.create_task(self.node.run()),
        ]
        await self._ready()
        return self

    async def _ready(self) -> None:
        """Wait until pods can be scheduled; raises what a part failed of."""
        registered = asyncio.create_task(self.node.registered.wait())
        try:
            await asyncio.wait({registered, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks:
                if task.done():
                    task.result()
        finally:
            registered.cancel()

    async def __aexit__(self, *exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()
        await self._node_client.close()
        await self.server.stop()
        self._network.close()

    def _google(self) -> GoogleProject | None:
        config = self._config
        if not config.google_url or not config.google_project:
            return None
        return GoogleProject(
            url=config.google_url,
            project=config.google_project,
            number=config.google_project_number,
            location=config.google_location,
            cluster=config.name,
        )

    async def failed(self) -> None:
        """Return when a part has ended, raising what ended it."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


async def _serve(config: ClusterConfig) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with ClusterRunner(config) as cluster:
        print("ready", flush=True)
        waiting = {
            asyncio.create_task(stop.wait()),
            asyncio.create_task(reader.read()),
            asyncio.create_task(cluster.failed()),
        }
        done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        for task in done:
            task.result()


def main() -> int:
    """Run a cluster until told to stop."""
    parser = argparse.ArgumentParser(
        prog="python -m streamops_sandbox.cluster", description=__doc__
    )
    parser.add_argument("--name", required=True)
    parser.add_argument("--folder", required=True, type=Path)
    for option in ("url", "project", "project-number", "location"):
        parser.add_argument(f"--google-{option}", default="")
    options = parser.parse_args()
    os.umask(0o077)
    attach.log_to_stderr()
    eventloop.prepare()
    options.folder.mkdir(parents=True, exist_ok=True)
    config = ClusterConfig(
        name=options.name,
        folder=options.folder.resolve(),
        google_url=options.google_url,
        google_project=options.google_project,
        google_project_number=options.google_project_number,
        google_location=options.google_location,
    )
    asyncio.run(_serve(config))
    return 0


if __name__ == "__main__":
    sys.exit(main())
