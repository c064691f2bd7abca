"""Runs the stand-in alone: `python -m streamops_sandbox.google --home FOLDER --port PORT`."""

from __future__ import annotations

import argparse
from pathlib import Path

from aiohttp import web

from .. import standalone
from ..clusters import Cluster
from .app import create_app


class NoClusters:
    """Stands where the supervisor's cluster manager is: alone, no cluster can be made."""

    async def create(
        self,
        name: str,
        *,
        google_url: str | None = None,
        google_project: str = "",
        google_project_number: str = "",
        google_location: str = "",
    ) -> Cluster:
        """Refuse: clusters need the supervisor."""
        raise RuntimeError("clusters need `sandbox up`; this is streamops_sandbox.google alone")

    async def delete(self, name: str) -> None:
        """There is none."""
        raise KeyError(name)

    def get(self, name: str) -> Cluster:
        """There is none."""
        raise KeyError(name)

    def list(self) -> list[Cluster]:
        """There is none."""
        return []


def main() -> None:
    """Serve until interrupted; prints the base URL first."""
    parser = argparse.ArgumentParser(prog="python -m streamops_sandbox.google", description=__doc__)
    parser.add_argument(
        "--home", type=Path, default=Path(".sandbox"), help="where the key is written"
    )
    parser.add_argument("--port", type=int, default=18970, help="0 takes a free one")
    parser.add_argument(
        "--enable", nargs="*", default=[], metavar="SERVICE", help="services enabled at the start"
    )
    options = parser.parse_args()

    def make(base_url: str) -> web.Application:
        return create_app(
            home=options.home,
            base_url=base_url,
            clusters=NoClusters(),
            enabled_services=options.enable,
        )

    standalone.run("google", make, options.home, options.port)


if __name__ == "__main__":
    main()
