"""Clusters as child processes of the supervisor."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from streamops_sandbox.home import MARK, Home

logger = logging.getLogger(__name__)

_START_SECONDS = 110.0
_STOP_SECONDS = 20.0
#: Below the folder of a cluster: the version of Kubernetes that it reports, where that is not the sandbox's.
VERSION_FILE = "kubernetes-version"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Cluster:
    """One running cluster.

    `url` is the API server's address (https), `ca_pem` the PEM certificate that signed its
    certificate, `kubeconfig_path` a file that gives whoever reads it `system:masters`.
    """

    name: str
    url: str
    ca_pem: str
    kubeconfig_path: Path


class Clusters:
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
        #: Names of the clusters that Google's stand-in has started.
        self.of_google: set[str] = set()

    async def create(self, name: str, google: Mapping[str, str] | None = None) -> Cluster:
        """Start the cluster `name` and return it once its API server answers.

        `google` is its place on Google. With `url`, the base URL of Google's stand-in, it accepts
        Google access tokens; with `project` (its id) and `location`, too, pods get
        a metadata server and so identities of the project's workload pool. Raises ValueError where
        `name` is taken or no DNS label, RuntimeError (with the end of the log) where the process did
        not start.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"cluster name {name!r}: lower case letters, digits and - are allowed")
        if name in self._running or name in self._starting:
            raise ValueError(f"cluster {name!r} exists already")
        self._starting.add(name)
        try:
            folder = self._home.cluster(name)
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            folder.mkdir(parents=True)
            arguments = [f"--google-{key}={value}" for key, value in (google or {}).items()]
            process = await self._start(name, folder, arguments)
            path = folder / "kubeconfig"
            entry = yaml.safe_load(path.read_text(encoding="utf-8"))["clusters"][0]["cluster"]
            ca_pem = base64.b64decode(entry["certificate-authority-data"]).decode("ascii")
            cluster = Cluster(name, entry["server"], ca_pem, path)
            self._running[name] = (cluster, process)
            (self.of_google.add if google else self.of_google.discard)(name)
        finally:
            self._starting.discard(name)
        self._watching = asyncio.create_task(self._watch(name, process))
        self._changed()
        return cluster

    async def delete(self, name: str) -> None:
        """Stop a cluster with all its pods and remove what it kept. KeyError if unknown."""
        _, process = self._running.pop(name)
        await _stop(process)
        await asyncio.to_thread(shutil.rmtree, self._home.cluster(name), ignore_errors=True)
        self._changed()

    def set_version(self, name: str, version: str) -> None:
        """Have a cluster report another version of Kubernetes, as after an upgrade."""
        (self._home.cluster(name) / VERSION_FILE).write_text(version, encoding="utf-8")

    def list(self) -> list[Cluster]:
        """Return the clusters that run, by name."""
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
        assert process.stdout is not None
        line = b""
        try:
            with contextlib.suppress(TimeoutError):
                line = await asyncio.wait_for(process.stdout.readline(), _START_SECONDS)
        finally:
            if line.strip() != b"ready":
                await _stop(process)
        if line.strip() != b"ready":
            raise RuntimeError(f"cluster {name!r} did not start; {log} ends with: {last_line(log)}")
        return process

    async def _watch(self, name: str, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        if name in self._running and self._running[name][1] is process:
            logger.error("cluster %s ended by itself with code %s", name, code)
            del self._running[name]
            self._changed()


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
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "(nothing)"
