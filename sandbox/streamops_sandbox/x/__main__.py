"""Runs the stand-in alone: `python -m streamops_sandbox.x --home FOLDER --port PORT --posts FILE`."""

from __future__ import annotations

import argparse
import socket
import sys
from pathlib import Path

from aiohttp import web

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
    listener = socket.create_server(("127.0.0.1", options.port))
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        app = create_app(home=options.home, base_url=base_url, posts=options.posts)
    except PostsError as error:
        sys.exit(str(error))
    print(base_url, flush=True)
    web.run_app(app, sock=listener, print=None)


if __name__ == "__main__":
    main()
