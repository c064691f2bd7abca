"""Run an API server by itself: `python -m streamops_sandbox.kube --data-dir DIR`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path

import yaml

from streamops_sandbox.kube.server import ApiServer
from streamops_sandbox.kube.tls import write_private


async def _run(options: argparse.Namespace) -> None:
    server = ApiServer(
        options.data_dir,
        host=options.host,
        port=options.port,
        google_tokeninfo_url=options.google_tokeninfo_url,
        service_cidr=options.service_cidr,
    )
    await server.start()
    kubeconfig = options.data_dir / "kubeconfig"
    write_private(kubeconfig, yaml.safe_dump(server.admin_kubeconfig()).encode())
    print(f"{server.url} (kubeconfig: {kubeconfig})", flush=True)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()
    await server.stop()


def main() -> int:
    """Parse the command line and serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m streamops_sandbox.kube", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder for keys")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--service-cidr", help="network of the cluster IPs")
    parser.add_argument("--google-tokeninfo-url", help="checks Google access tokens")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
