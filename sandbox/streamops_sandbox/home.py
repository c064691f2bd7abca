"""The sandbox's folder: where things are in it, and which processes belong to it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

State = dict[str, Any]

#: In the environment of every process the supervisor starts: `Home.id`.
MARK = "SANDBOX_ID"


class SandboxError(ValueError):
    """Something cannot be done; the message is one line that says what to do."""


class Home:
    """A sandbox's folder, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        #: What runs; written once everything answers, removed at the end.
        self.state_file = self.path / "state.json"
        self.logs = self.path / "logs"
        #: The supervisor's control socket; see `short`.
        self.socket = self.path / "control.sock"

    @property
    def id(self) -> str:
        """What marks this sandbox's processes; the same for the same folder."""
        return hashlib.sha256(os.fsencode(self.path.resolve())).hexdigest()[:16]

    def cluster(self, name: str) -> Path:
        """Return the folder of a cluster."""
        return self.path / "clusters" / name

    def read_state(self) -> State | None:
        """Return the state, or None where there is none (or only a part of one)."""
        try:
            state: State = json.loads(self.state_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return state

    def make(self) -> None:
        """Make the folder, for its owner only. Raises SandboxError where others can enter it.

        It holds every key there is: administrators' kubeconfigs, accounts' keys, authorities.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.path.stat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise SandboxError(
                f"{self.path} can be entered by other users: run 'chmod 700' on it, or choose "
                "another folder with --home or SANDBOX_HOME."
            )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder against a second `up` or `down`. Raises SandboxError."""
        with self._held("lock") as held:
            if not held:
                raise SandboxError(
                    f"another 'sandbox up' or 'down' works on {self.path}: wait until it is done."
                )
            yield

    def supervise(self) -> None:
        """Be the folder's supervisor until this process ends."""
        self.make()
        self._supervising = (self.path / "supervisor.lock").open("w", encoding="ascii")
        fcntl.flock(self._supervising, fcntl.LOCK_EX)

    @property
    def running(self) -> bool:
        """Whether the folder's supervisor runs."""
        with self._held("supervisor.lock") as free:
            return not free

    @contextlib.contextmanager
    def _held(self, name: str) -> Iterator[bool]:
        """Hold a lock of the folder; yield False if another process holds it."""
        self.make()
        with (self.path / name).open("w", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    @contextlib.contextmanager
    def short(self, path: Path) -> Iterator[str]:
        """Give a file of this folder a name short enough for a socket's address."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{descriptor}/{path.name}"
        finally:
            os.close(descriptor)


def write_private(path: Path, content: dict[str, Any]) -> None:
    """Write JSON that only its owner can read, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(content, indent=2) + "\n")
    partial.replace(path)
