"""Writes down each process that Ansible starts, with the task that starts it, into $PROCESS_STARTS.

Python tells its audit hooks (https://docs.python.org/3/library/audit_events.html) of every process, also in the
workers, which are forked from the process that loads this. A line is the worker's process id, the task, the program.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: process_starts
type: aggregate
short_description: Writes down each process that Ansible starts
description: Used by the benchmark site_noop.
requirements: [enable it in the configuration]
options: {}
"""

EVENTS = ("subprocess.Popen", "os.posix_spawn", "os.exec", "os.system")
MAIN = os.getpid()


class CallbackModule(CallbackBase):
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "process_starts"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        sys.addaudithook(_note)


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in EVENTS or os.getpid() == MAIN:
        return
    task = getattr(multiprocessing.current_process(), "_task", None)
    name = task.get_name() if task else "?"
    line = f"{os.getpid()}\t{name}\t{arguments[0]!r}\n".encode()
    file = os.open(os.environ["PROCESS_STARTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line)
    os.close(file)
