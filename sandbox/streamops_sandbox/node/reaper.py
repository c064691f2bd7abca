"""Ends containers' processes that would outlive the cluster they belong to.

Run as a program (`python -I -S reaper.py NAME VALUE`), it waits until its standard input is
closed, which happens when the cluster's process ends, however it does, and then kills every
process whose environment has the variable NAME beginning with VALUE, and those processes' groups.
Standard library only: it has to stay small.
"""

from __future__ import annotations

import os
import signal
import sys
import time

_ROUNDS = 50
_PAUSE_SECONDS = 0.1


def find(name: str, value: str) -> list[int]:
    """Return the processes started with a variable `name` that begins with `value`."""
    wanted = f"{name}={value}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    environ = file.read()
            except OSError:  # ended, or another user's
                continue
            if any(variable.startswith(wanted) for variable in environ.split(b"\0")):
                found.append(int(entry))
    return found


def kill_groups(pids: list[int]) -> None:
    """Kill processes and the process groups they are in, other than our own."""
    for pid in pids:
        try:
            group = os.getpgid(pid)
            if group != os.getpgrp():
                os.killpg(group, signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def reap(name: str, value: str) -> bool:
    """Kill what `find` finds until nothing is left; False where something stays."""
    for _ in range(_ROUNDS):
        pids = find(name, value)
        if not pids:
            return True
        kill_groups(pids)
        time.sleep(_PAUSE_SECONDS)
    return False


def main() -> int:
    """Wait for the end of standard input, then reap."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while sys.stdin.buffer.read(4096):
        pass
    return 0 if reap(sys.argv[1], sys.argv[2]) else 1


if __name__ == "__main__":
    sys.exit(main())
