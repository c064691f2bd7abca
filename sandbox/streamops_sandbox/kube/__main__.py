"""Run an API server by itself: `python -m streamops_sandbox.kube --data-dir DIR`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import yaml

from streamops_sandbox import eventloop
from streamops_sandbox.kube.server import ApiServer
from streamops_sandbox.kube.tls import write_private


async def _run(folder: Path) -> None:
    server = ApiServer(folder)
    await server.start()
    kubeconfig = folder / "kubeconfig"
    write_private(kubeconfig, yaml.safe_dump(server.admin_kubeconfig()).encode())
    print(f"{server.url} (kubeconfig: {kubeconfig})", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await server.stop()


def main() -> int:
    """Parse the command line and serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m streamops_sandbox.kube", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder for keys")
    asyncio.run(eventloop.until_told(_run(parser.parse_args().data_dir)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
