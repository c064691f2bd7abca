"""One cluster as a process: API server, controllers, scheduler and node on one event loop.

`python -m streamops_sandbox.cluster --name NAME --folder DIR` writes `DIR/kubeconfig` and then `ready` and a
newline to its standard output, and runs until SIGTERM, or until its standard input is closed: it
does not outlive who started it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import yaml

from streamops_sandbox import eventloop
from streamops_sandbox.client import Client
from streamops_sandbox.clusters import VERSION_FILE
from streamops_sandbox.controllers import manager
from streamops_sandbox.kube.server import ApiServer
from streamops_sandbox.kube.tls import Authority, write_private
from streamops_sandbox.node.agent import NodeAgent, NodeConfig
from streamops_sandbox.node.metadata import GoogleProject
from streamops_sandbox.node.network import Network
from streamops_sandbox.node.scheduler import Scheduler

Work = Coroutine[Any, Any, Any]


async def run_node(
    kubeconfig: dict[str, Any],
    make_node: Callable[[Client], NodeAgent],
    controllers: Callable[[Client], Iterable[Work]],
) -> None:
    """Run scheduler, node and these controllers, until one ends; announces when pods can be scheduled."""
    async with (
        Client(kubeconfig, user_agent="kube-controller-manager") as client,
        Client(kubeconfig, user_agent="kubelet") as node_client,
    ):
        node = make_node(node_client)

        async def announce() -> None:
            await node.registered.wait()
            print("ready", flush=True)
            await asyncio.Event().wait()

        parts = (Scheduler(client).run(), node.run(), announce(), *controllers(client))
        await until_one_ends(*parts)


async def _until_input_ends(work: Work) -> None:
    """Run `work` until standard input is closed; raises what ended it before."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    await until_one_ends(work, reader.read())


async def until_one_ends(*parts: Work) -> None:
    """Run all parts; when one has ended the others are cancelled, and what it raised is raised."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def arguments(description: str | None, program: str | None = None) -> argparse.ArgumentParser:
    """Return a parser of what is said to the program of a cluster."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--name", default="sandbox")
    parser.add_argument("--folder", required=True, type=lambda folder: Path(folder).resolve())
    for option in ("url", "project", "location"):
        parser.add_argument(f"--google-{option}", default="")
    return parser


def google_project(options: argparse.Namespace) -> GoogleProject | None:
    """Return the cluster's place on Google, if it has one."""
    if not options.google_url or not options.google_project:
        return None
    return GoogleProject(
        url=options.google_url,
        project=options.google_project,
        location=options.google_location,
        cluster=options.name,
    )


def serve(options: argparse.Namespace, work: Callable[[argparse.Namespace], Work]) -> None:
    """Run a cluster in this process."""
    os.umask(0o077)
    eventloop.prepare()
    options.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(eventloop.until_told(_until_input_ends(work(options))))


async def _run(options: argparse.Namespace) -> None:
    network = Network.reserve()
    server = ApiServer(
        options.folder / "kube",
        google_tokeninfo_url=f"{options.google_url}/tokeninfo" if options.google_url else None,
        service_cidr=network.service_cidr,
        version_file=options.folder / VERSION_FILE,
    )
    try:
        await server.start()
        kubeconfig = server.admin_kubeconfig()
        write_private(options.folder / "kubeconfig", yaml.safe_dump(kubeconfig).encode())
        authority = Authority(server.ca_file.parent)
        config = NodeConfig(
            folder=options.folder / "node",
            authority=authority,
            google=google_project(options),
        )
        await run_node(
            kubeconfig,
            lambda client: NodeAgent(client, kubeconfig, network, config),
            lambda client: [manager.run(client, authority.pem.decode())],
        )
    finally:
        await server.stop()
        network.close()


def main() -> int:
    """Run a cluster until told to stop."""
    serve(arguments(__doc__, "python -m streamops_sandbox.cluster").parse_args(), _run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
