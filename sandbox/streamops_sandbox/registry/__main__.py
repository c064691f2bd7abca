"""Runs the registry alone: `python -m streamops_sandbox.registry --port 5000 --home DIR`."""

from __future__ import annotations

import argparse
from pathlib import Path

from aiohttp import web

from streamops_sandbox import standalone
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

    def make(base_url: str) -> web.Application:
        return create_app(
            home=options.home,
            base_url=base_url,
            anonymous_pull=not options.private,
            max_bytes=options.max_bytes,
        )

    standalone.run("registry", make, options.home, options.port)


if __name__ == "__main__":
    main()
