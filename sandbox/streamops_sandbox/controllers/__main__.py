"""Run the core controllers on any API server: `python -m streamops_sandbox.controllers --kubeconfig PATH`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from streamops_sandbox import attach, eventloop
from streamops_sandbox.client import Client
from streamops_sandbox.controllers import manager


async def _run(kubeconfig: Path) -> None:
    config, authority = attach.read_kubeconfig(kubeconfig)
    async with await Client.from_kubeconfig(config, user_agent="kube-controller-manager") as client:
        print("running", flush=True)
        await attach.until_told(manager.run(client, authority))


def main() -> int:
    """Run until told to stop."""
    options = attach.parser("streamops_sandbox.controllers", __doc__).parse_args()
    attach.log_to_stderr()
    eventloop.prepare()
    asyncio.run(_run(options.kubeconfig))
    return 0


if __name__ == "__main__":
    sys.exit(main())
