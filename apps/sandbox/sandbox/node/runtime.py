"""Running containers: as processes of this machine, or as coroutines of this process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import traceback
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from sandbox.node import reaper
from sandbox.node.context import ContainerContext, Program
from sandbox.node.logs import ContainerLog

#: The variable that marks all processes of a container: `CLUSTER RUN ID/POD UID/CONTAINER`.
MARK = "SANDBOX_CONTAINER"

_DRAIN_SECONDS = 1.0
_OUTPUT_LIMIT = 10 * 1024


class StartError(Exception):
    """The container's program could not be started."""


class Running(Protocol):
    """A container that was started."""

    async def wait(self) -> int:
        """Wait for its end; returns the exit code, 128 + N where signal N ended it."""

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""

    def kill(self) -> None:
        """End it (SIGKILL)."""

    async def execute(self, command: Sequence[str], seconds: float) -> tuple[int, str]:
        """Run a command beside it; returns exit code and output. Raises TimeoutError."""


class ProcessContainer:
    """A container as a process in a session of its own, with everything it starts."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        env: Mapping[str, str],
        folder: Path,
        log: ContainerLog,
    ) -> None:
        self._process = process
        self._env = env
        self._folder = folder
        streams = ((process.stdout, "stdout"), (process.stderr, "stderr"))
        self._copying = [
            asyncio.create_task(log.copy(reader, name)) for reader, name in streams if reader
        ]
        self._ended = asyncio.create_task(self._end())

    @classmethod
    async def start(
        cls, argv: Sequence[str], env: Mapping[str, str], folder: Path, log: ContainerLog
    ) -> ProcessContainer:
        """Start `argv` with exactly this environment in `folder`. Raises StartError."""
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env=env,
                cwd=folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise StartError(
                f'exec: "{argv[0]}": {(error.strerror or str(error)).lower()}'
            ) from None
        return cls(process, env, folder, log)

    async def wait(self) -> int:
        """See Running."""
        return await asyncio.shield(self._ended)

    async def _end(self) -> int:
        code = await self._process.wait()
        self._signal_group(signal.SIGKILL)
        # Like the end of a PID namespace: what left the process group is ended too.
        stragglers = reaper.find(MARK, self._env[MARK])
        if stragglers:
            reaper.kill_groups(stragglers)
        _, unfinished = await asyncio.wait(self._copying, timeout=_DRAIN_SECONDS)
        for task in unfinished:
            task.cancel()
        return code if code >= 0 else 128 - code

    def terminate(self) -> None:
        """See Running."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """See Running."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._signal_group(signal.SIGKILL)

    async def execute(self, command: Sequence[str], seconds: float) -> tuple[int, str]:
        """See Running."""
        return await execute(command, self._env, self._folder, seconds)

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


class ProgramContainer:
    """A container whose image is stood in for by a coroutine of this process."""

    def __init__(self, program: Program, context: ContainerContext, log: ContainerLog) -> None:
        self._context = context
        self._log = log
        self._terminated = False
        coroutine: Coroutine[object, object, int] = self._run(program)
        self._task = asyncio.create_task(
            coroutine, name=f"{context.namespace}/{context.pod}/{context.name}"
        )

    async def wait(self) -> int:
        """See Running."""
        await asyncio.wait({self._task})
        return 137 if self._task.cancelled() else self._task.result()

    def terminate(self) -> None:
        """See Running."""
        self._terminated = True
        self._task.cancel()

    def kill(self) -> None:
        """See Running."""
        self.terminate()

    async def execute(self, command: Sequence[str], seconds: float) -> tuple[int, str]:
        """See Running."""
        return await execute(command, self._context.env, self._context.root, seconds)

    async def _run(self, program: Program) -> int:
        try:
            return await program(self._context)
        except asyncio.CancelledError:
            if self._terminated:
                return 0
            raise
        except Exception:
            self._log.write_text(traceback.format_exc())
            return 1


async def execute(
    command: Sequence[str], env: Mapping[str, str], folder: Path, seconds: float
) -> tuple[int, str]:
    """Run a command to its end; returns its exit code and the beginning of its output.

    Raises TimeoutError, after killing it, where it takes longer; StartError.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=env,
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise StartError(
            f'exec: "{command[0]}": {(error.strerror or str(error)).lower()}'
        ) from None
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    code = process.returncode or 0
    return code if code >= 0 else 128 - code, output[:_OUTPUT_LIMIT].decode(errors="replace")
