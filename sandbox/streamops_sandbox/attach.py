"""What the programs that attach to an API server share: a kubeconfig to begin with, a signal to end by."""

from __future__ import annotations

import argparse
import asyncio
import base64
import logging
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import yaml

from streamops_sandbox.client import named
from streamops_sandbox.objects import Object


def parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """A command line that asks for a kubeconfig."""
    made = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    made.add_argument("--kubeconfig", type=Path, required=True, help="an administrator's")
    return made


def read_kubeconfig(path: Path) -> tuple[Object, str]:
    """A kubeconfig cut down to its current context, and the authority (PEM) that context trusts.

    Raises ValueError where it names something it does not hold, or no authority.
    """
    config: Object = yaml.safe_load(path.read_text(encoding="utf-8"))
    context = config.get("current-context", "")
    name = named(config, "context", context)["cluster"]
    cluster = named(config, "cluster", name)
    if data := cluster.get("certificate-authority-data"):
        authority = base64.b64decode(data).decode("ascii")
    elif file := cluster.get("certificate-authority"):
        authority = (path.parent / file).read_text(encoding="ascii")
    else:
        raise ValueError(f"{path}: the cluster of context {context!r} has no certificate authority")
    return {**config, "clusters": [{"name": name, "cluster": cluster}]}, authority


async def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run something until SIGTERM or SIGINT; raises what ends it before."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: task.cancelling() or task.cancel())
    try:
        await task
    except asyncio.CancelledError:
        if not task.cancelled():
            raise


def log_to_stderr() -> None:
    """Warnings and what a program says on its way, with the time."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
