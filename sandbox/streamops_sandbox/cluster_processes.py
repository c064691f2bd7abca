"""Clusters as child processes: what implements `streamops_sandbox.clusters.ClusterManager`."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from streamops_sandbox.clusters import Cluster
from streamops_sandbox.home import MARK, Home

logger = logging.getLogger(__name__)

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class ClusterProcesses:
    """Starts each cluster as `python -m streamops_sandbox.cluster`, which ends when this process does.

    `changed` is called after a cluster was added or has gone. `program` is started in place of
    `streamops_sandbox.cluster`, with the same arguments.
    """

    def __init__(
        self, home: Home, changed: Callable[[], None], program: Path | None = None
    ) -> None:
        self._home = home
        self._program = program
        self._changed = changed
        self._running: dict[str, tuple[Cluster, asyncio.subprocess.Process]] = {}
        self._starting: set[str] = set()

    async def create(
        self,
        name: str,
        *,
        google_url: str | None = None,
        google_project: str = "",
        google_project_number: str = "",
        google_location: str = "",
    ) -> Cluster:
        """Start a cluster; see ClusterManager."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"cluster name {name!r}: lower case letters, digits and - are allowed")
        if name in self._running or name in self._starting:
            raise ValueError(f"cluster {name!r} exists already")
        self._starting.add(name)
        try:
            folder = self._home.cluster(name)
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            folder.mkdir(parents=True)
            google = {
                "--google-url": google_url,
                "--google-project": google_project,
                "--google-project-number": google_project_number,
                "--google-location": google_location,
            }
            arguments = [part for pair in google.items() if pair[1] for part in pair if part]
            process = await self._start(name, folder, arguments)
            cluster = _read_cluster(name, folder)
            self._running[name] = (cluster, process)
        finally:
            self._starting.discard(name)
        self._watching = asyncio.create_task(self._watch(name, process))
        self._changed()
        return cluster

    async def delete(self, name: str) -> None:
        """Stop a cluster; see ClusterManager."""
        _, process = self._running.pop(name)
        await _stop(process)
        await asyncio.to_thread(shutil.rmtree, self._home.cluster(name), ignore_errors=True)
        self._changed()

    def get(self, name: str) -> Cluster:
        """Return a cluster; see ClusterManager."""
        return self._running[name][0]

    def list(self) -> list[Cluster]:
        """Return the clusters by name; see ClusterManager."""
        return [self._running[name][0] for name in sorted(self._running)]

    def state(self) -> dict[str, Any]:
        """Return what state.json says of the clusters."""
        return {
            name: {
                "url": cluster.url,
                "kubeconfig": str(cluster.kubeconfig_path),
                "pid": process.pid,
            }
            for name, (cluster, process) in sorted(self._running.items())
        }

    async def stop(self) -> None:
        """Stop all clusters."""
        running, self._running = self._running, {}
        await asyncio.gather(*(_stop(process) for _, process in running.values()))

    async def _start(
        self, name: str, folder: Path, arguments: Sequence[str]
    ) -> asyncio.subprocess.Process:
        log = self._home.logs / f"cluster-{name}.log"
        program = [str(self._program)] if self._program else ["-m", "streamops_sandbox.cluster"]
        command = [*program, "--name", name, "--folder", str(folder), *arguments]
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                env={**os.environ, MARK: self._home.id},
                start_new_session=True,
            )
        line = b""
        with contextlib.suppress(TimeoutError):
            if process.stdout is not None:
                line = await asyncio.wait_for(process.stdout.readline(), _START_SECONDS)
        if line.strip() != b"ready":
            await _stop(process)
            raise RuntimeError(f"cluster {name!r} did not start; {log} ends with: {last_line(log)}")
        return process

    async def _watch(self, name: str, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        if name in self._running and self._running[name][1] is process:
            logger.error("cluster %s ended by itself with code %s", name, code)
            del self._running[name]
            self._changed()


def _read_cluster(name: str, folder: Path) -> Cluster:
    path = folder / "kubeconfig"
    entry = yaml.safe_load(path.read_text(encoding="utf-8"))["clusters"][0]["cluster"]
    ca_pem = base64.b64decode(entry["certificate-authority-data"]).decode("ascii")
    return Cluster(name, entry["server"], ca_pem, path)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()  # its signal to end
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def last_line(log: Path) -> str:
    """Return the last line of a log that says something."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except FileNotFoundError:
        return ""
    return lines[-1].strip() if lines else "(nothing)"
