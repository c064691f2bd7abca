"""Processes that tests interrupt, and those that are left."""

from __future__ import annotations

import os
from pathlib import Path

#: Before a command that a test interrupts: a shell in the background has its children ignore Ctrl-C.
HEEDING_CTRL_C = ("env", "--default-signal=INT")


def processes_mentioning(text: str) -> list[str]:
    """Return the command lines of processes with a text in their arguments or environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                arguments = (entry / "cmdline").read_bytes()
                environ = (entry / "environ").read_bytes()
            except OSError:
                continue
            if text.encode() in arguments + environ:
                found.append(arguments.replace(b"\0", b" ").decode())
    return found
