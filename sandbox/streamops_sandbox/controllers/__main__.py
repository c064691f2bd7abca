"""Run the core controllers on another API server: `python -m streamops_sandbox.controllers --kubeconfig PATH`."""

from __future__ import annotations

import argparse
import asyncio
import base64
import sys
from pathlib import Path
from typing import Any

import yaml

from streamops_sandbox import eventloop
from streamops_sandbox.client import Client
from streamops_sandbox.controllers import manager


async def _run(config: dict[str, Any]) -> None:
    authority = config["clusters"][0]["cluster"]["certificate-authority-data"]
    async with Client(config, user_agent="kube-controller-manager") as client:
        print("running", flush=True)
        await eventloop.until_told(manager.run(client, base64.b64decode(authority).decode()))


def main() -> int:
    """Run until told to stop."""
    parser = argparse.ArgumentParser(
        prog="python -m streamops_sandbox.controllers", description=__doc__
    )
    parser.add_argument(
        "--kubeconfig", type=Path, required=True, help="a sandbox's administrator's"
    )
    options = parser.parse_args()
    eventloop.prepare()
    asyncio.run(_run(yaml.safe_load(options.kubeconfig.read_text(encoding="utf-8"))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
