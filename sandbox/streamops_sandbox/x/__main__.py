"""Runs the stand-in alone: `python -m streamops_sandbox.x --home FOLDER --port PORT --posts FILE`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from aiohttp import web

from streamops_sandbox import standalone
from streamops_sandbox.x.app import create_app
from streamops_sandbox.x.posts import PostsError


def main() -> None:
    """Serve until interrupted; prints the base URL first."""
    parser = argparse.ArgumentParser(prog="python -m streamops_sandbox.x", description=__doc__)
    parser.add_argument(
        "--home", type=Path, default=Path(".sandbox"), help="where the keys are kept"
    )
    parser.add_argument("--port", type=int, default=18972, help="0 takes a free one")
    parser.add_argument("--posts", type=Path, help="posts to serve instead of the sandbox's own")
    options = parser.parse_args()

    def make(base_url: str) -> web.Application:
        return create_app(home=options.home, base_url=base_url, posts=options.posts)

    try:
        standalone.run("x", make, options.home, options.port)
    except PostsError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
