"""Container logs in the CRI's format: `2026-01-02T03:04:05.000000006Z stdout F text`.

A log begins anew at 10 MiB: the kubelet, too, shows only what came after a rotation.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

_MAX_BYTES = 10 * 1024 * 1024
_MAX_LINE = 16 * 1024  # the CRI splits longer ones


def timestamp() -> str:
    """Return the current time as RFC 3339 with nanoseconds."""
    seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"


class ContainerLog:
    """The log of one run of a container; readers may follow while it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._size = 0
        self._grown = asyncio.Event()
        self.closed = False

    def write(self, stream: str, data: bytes, *, whole: bool = True) -> None:
        """Add a line (without its newline); `whole` is False where it goes on in the next."""
        tag = "F" if whole else "P"
        entry = f"{timestamp()} {stream} {tag} ".encode() + data + b"\n"
        self._file.write(entry)
        self._size += len(entry)
        if self._size > _MAX_BYTES:
            self._file.truncate(0)
            self._size = 0
        self._grown.set()

    def write_text(self, line: str) -> None:
        """Add what a program said, which may be several lines."""
        for part in line.splitlines() or [""]:
            self.write("stdout", part.encode(errors="replace"))

    def close(self) -> None:
        """Tell readers that nothing follows."""
        if not self.closed:
            self.closed = True
            self._file.close()
            self._grown.set()

    async def wait(self, seconds: float) -> None:
        """Wait until something was written, the log was closed or the time is over."""
        self._grown.clear()
        if self.closed:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._grown.wait(), seconds)


class LogStream:
    """One of a process's two output streams on its way into a log: cuts it into lines."""

    def __init__(self, log: ContainerLog, name: str) -> None:
        self._log = log
        self._name = name
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take over what the process wrote."""
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._log.write(self._name, self._long(line))
        self._rest = self._long(rest)

    def end(self) -> None:
        """Write what has no newline at its end."""
        if self._rest:
            self._log.write(self._name, self._rest)
            self._rest = b""

    def _long(self, line: bytes) -> bytes:
        """Write the beginning of a long line in parts; returns what is left."""
        while len(line) > _MAX_LINE:
            self._log.write(self._name, line[:_MAX_LINE], whole=False)
            line = line[_MAX_LINE:]
        return line


async def read(
    path: Path,
    log: ContainerLog | None,
    *,
    follow: bool = False,
    tail: int | None = None,
    since: str | None = None,
    timestamps: bool = False,
    limit_bytes: int | None = None,
) -> AsyncIterator[bytes]:
    """Yield the text of a log as `kubectl logs` shows it.

    `since` is a timestamp as in the log: only later lines count. `log` is the live log, which
    `follow` waits on.
    """
    budget, position, first = limit_bytes, 0, True
    while True:
        closed = log is None or log.closed
        with path.open("rb") as file:
            if position <= os.fstat(file.fileno()).st_size:  # else it was begun anew
                file.seek(position)
            data, position = file.read(), file.tell()
        entries = _entries(data, since)
        if first and tail is not None:
            entries = iter(_last_lines(entries, tail))
        first = False
        chunk = b"".join(_render(entry, timestamps) for entry in entries)
        if budget is not None:
            chunk = chunk[:budget]
            budget -= len(chunk)
        if chunk:
            yield chunk
        if closed or not follow or budget == 0 or log is None:
            return
        if not data:
            await log.wait(30)


Entry = tuple[bytes, bool, bytes]  # timestamp, whether the line ends here, text


def _entries(data: bytes, since: str | None) -> Iterator[Entry]:
    for line in data.split(b"\n")[:-1]:
        when, _, rest = line.partition(b" ")
        if since is None or when.decode() >= since:
            yield when, rest[7:8] == b"F", rest[9:]


def _last_lines(entries: Iterator[Entry], count: int) -> deque[Entry]:
    kept: deque[Entry] = deque()
    ends = 0
    for entry in entries:
        kept.append(entry)
        ends += entry[1]
        while ends > count:
            ends -= kept.popleft()[1]
    return kept


def _render(entry: Entry, timestamps: bool) -> bytes:
    when, ends, text = entry
    return (when + b" " if timestamps else b"") + text + (b"\n" if ends else b"")
