"""Runs the registry alone: `python -m streamops_sandbox.registry --port 5000 --home DIR`."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

from aiohttp import web

from streamops_sandbox.registry import create_app


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m streamops_sandbox.registry", description=__doc__
    )
    parser.add_argument("--port", type=int, default=5000, help="0 takes a free one")
    parser.add_argument("--home", type=Path, default=Path(".sandbox"))
    parser.add_argument("--max-bytes", type=int, help="refuse what would take more than this")
    parser.add_argument(
        "--private", action="store_true", help="ask for credentials to pull, not only to push"
    )
    options = parser.parse_args()
    listening = socket.create_server(("127.0.0.1", options.port))
    app = create_app(
        home=options.home,
        base_url=f"http://127.0.0.1:{listening.getsockname()[1]}",
        anonymous_pull=not options.private,
        max_bytes=options.max_bytes,
    )
    web.run_app(app, sock=listening)


if __name__ == "__main__":
    main()
