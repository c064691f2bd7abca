"""Run a node on any API server: `python -m streamops_sandbox.node --kubeconfig PATH --folder DIR`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from streamops_sandbox import attach, eventloop
from streamops_sandbox.client import Client
from streamops_sandbox.events import EventRecorder
from streamops_sandbox.node.agent import NodeAgent, NodeConfig
from streamops_sandbox.node.network import Network
from streamops_sandbox.node.scheduler import Scheduler


async def _run(options: argparse.Namespace) -> None:
    kubeconfig, authority = attach.read_kubeconfig(options.kubeconfig)
    options.folder.mkdir(parents=True, exist_ok=True)
    ca_file = options.folder / "ca.crt"
    ca_file.write_text(authority, encoding="ascii")
    config = NodeConfig(
        folder=options.folder.resolve(),
        ca_file=ca_file,
        ca_key_file=options.ca_key,
        name=options.name,
    )
    network = Network.reserve()
    try:
        async with await Client.from_kubeconfig(kubeconfig, user_agent="kubelet") as client:
            node = NodeAgent(client, kubeconfig, network, config)
            await attach.until_told(_work(node, client, schedule=options.schedule))
    finally:
        network.close()


async def _work(node: NodeAgent, client: Client, *, schedule: bool) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(node.run())
        if schedule:
            events = EventRecorder(client, "default-scheduler")
            group.create_task(events.run())
            group.create_task(Scheduler(client, events).run())
        await node.registered.wait()
        print("ready", flush=True)


def main() -> int:
    """Run until told to stop; its pods end with it."""
    parser = attach.parser("streamops_sandbox.node", __doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for pods and images")
    parser.add_argument("--name", default="sandbox", help="the node's name")
    parser.add_argument(
        "--schedule", action="store_true", help="bind pods to nodes, too: no scheduler runs"
    )
    parser.add_argument(
        "--ca-key",
        type=Path,
        help="key of the cluster's authority, where the API server trusts no other kubelet"
        " (streamops_sandbox.kube: ca.key); without it the node signs its own certificate",
    )
    options = parser.parse_args()
    os.umask(0o077)
    attach.log_to_stderr()
    eventloop.prepare()
    asyncio.run(_run(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
