"""Running containers: as processes of this machine, or as coroutines of this process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

from streamops_sandbox.node import reaper
from streamops_sandbox.node.context import ContainerContext, Program
from streamops_sandbox.node.logs import ContainerLog, LogStream

#: The variable that marks all processes of a container: `CLUSTER RUN ID/POD UID/CONTAINER`.
MARK = "SANDBOX_CONTAINER"

_DRAIN_SECONDS = 1.0


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


class ProcessContainer:
    """A container as a process in a session of its own, with everything it starts."""

    def __init__(self, protocol: _OutputToLog, pid: int, mark: str) -> None:
        self._protocol = protocol
        self._pid = pid
        self._mark = mark
        self._ended = asyncio.create_task(self._end())

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        env: Mapping[str, str],
        folder: Path,
        log: ContainerLog,
        entering: Sequence[str] = (),
    ) -> ProcessContainer:
        """Start `argv` with exactly this environment in `folder`. Raises StartError.

        `entering` is the command that starts others where the container is, if it is elsewhere.
        """
        loop = asyncio.get_running_loop()
        try:
            transport, protocol = await loop.subprocess_exec(
                lambda: _OutputToLog(log),
                *entering,
                *argv,
                env=env,
                cwd=folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StartError(f'exec: "{argv[0]}": {reason}') from None
        return cls(protocol, transport.get_pid(), env[MARK])

    async def wait(self) -> int:
        """See Running."""
        return await asyncio.shield(self._ended)

    def terminate(self) -> None:
        """See Running."""
        self._signal(os.kill, signal.SIGTERM)

    def kill(self) -> None:
        """See Running."""
        self._signal(os.killpg, signal.SIGKILL)

    async def _end(self) -> int:
        code = await self._protocol.exited
        # Like the end of a PID namespace: what the process has left behind ends with it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)
        reaper.kill_groups(reaper.find(MARK, self._mark))
        await self._protocol.finish(_DRAIN_SECONDS)
        return code if code >= 0 else 128 - code

    def _signal(self, send: Callable[[int, int], None], number: signal.Signals) -> None:
        if not self._protocol.exited.done():  # else the pid may be another process's by now
            with contextlib.suppress(ProcessLookupError):
                send(self._pid, number)


class _OutputToLog(asyncio.SubprocessProtocol):
    """Carries a process's output to the log and knows when it ends.

    (asyncio's own Process waits for the end of the pipes, which grandchildren may hold.)
    """

    def __init__(self, log: ContainerLog) -> None:
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[int] = loop.create_future()
        self._closed = asyncio.Event()
        self._streams = {1: LogStream(log, "stdout"), 2: LogStream(log, "stderr")}
        self._transport: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Log what the process wrote."""
        self._streams[fd].feed(data)

    def process_exited(self) -> None:
        """Note the exit code."""
        code = self._transport.get_returncode() if self._transport else None
        self.exited.set_result(code or 0)

    def connection_lost(self, _: Exception | None) -> None:
        """Note that the pipes are closed."""
        self._closed.set()

    async def finish(self, seconds: float) -> None:
        """Take what is left in the pipes, for some seconds at most, and close them."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)
        for stream in self._streams.values():
            stream.end()
        if self._transport is not None:
            self._transport.close()


class ProgramContainer:
    """A container whose image is stood in for by a coroutine of this process."""

    def __init__(self, program: Program, context: ContainerContext, log: ContainerLog) -> None:
        self._context = context
        self._log = log
        self._terminated = False
        name = f"{context.namespace}/{context.pod}/{context.name}"
        self._task = asyncio.create_task(self._run(program), name=name)

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
