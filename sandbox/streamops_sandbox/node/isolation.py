"""How far this machine lets a node keep its containers apart, and the command that does it.

As root, containers are started as other users, one for each service account, with a view of the
files that shows of the sandbox's folder only what they mount. Without root the view is made in a
user namespace. Where a machine allows neither, containers see its files as they are.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from streamops_sandbox.node import enter

Bind = tuple[Path, Path]  # source, target

#: Above what systems give to people, services and subordinate users.
_FIRST_USER = 0x70000000
_USERS = 1 << 16
#: A machine that is only busy must not be taken for one that cannot.
_PROBE_SECONDS = 60.0
#: CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SYS_PTRACE, CAP_SYS_ADMIN
_NEEDED = sum(1 << bit for bit in (0, 1, 5, 6, 7, 19, 21))


@dataclass
class Isolation:
    """What is possible: views at all, users of their own, only in a user namespace."""

    number: int
    view: bool = False
    users: bool = False
    unprivileged: bool = False
    _known: dict[tuple[str, str], int] = field(default_factory=dict)

    @classmethod
    async def detect(cls, number: int, folder: Path) -> Isolation:
        """Find out by trying; `number` tells nodes of this machine apart, `folder` is any of ours."""
        if os.geteuid() != 0:
            tried = [cls(number, view=True, unprivileged=True)]
        else:
            tried = [cls(number, view=True, users=True)] if _capable() else []
            tried.append(cls(number, view=True))
        for one in tried:
            if await one._works(folder):
                return one
        return cls(number)

    def user(self, namespace: str, account: str) -> int | None:
        """Return the user that a service account's containers run as; None: this process's."""
        if not self.users:
            return None
        offset = self._known.setdefault((namespace, account), len(self._known) % _USERS)
        return _FIRST_USER + self.number * _USERS + offset

    def command(
        self,
        binds: Iterable[Bind],
        view: Path,
        user: int | None,
    ) -> list[str]:
        """Return the command to put before a program's; empty where views are not possible."""
        if not self.view:
            return []
        options = ["--unprivileged"] if self.unprivileged else []
        options += ["--view", str(view)]
        options += [] if user is None else ["--user", str(user)]
        for source, target in binds:
            options += ["--bind", str(source), str(target)]
        return [sys.executable, "-I", "-S", enter.__file__, *options, "--"]

    async def _works(self, folder: Path) -> bool:
        view = folder / "view"
        view.mkdir(parents=True, exist_ok=True)
        command = self.command(python(), view, self.user("", ""))
        process = await asyncio.create_subprocess_exec(
            *(*command, interpreter(), "-I", "-S", "-c", "pass"),
            cwd="/",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            return await asyncio.wait_for(process.wait(), _PROBE_SECONDS) == 0
        except TimeoutError:
            process.kill()
            return False


def interpreter() -> str:
    """Return the interpreter itself, not a virtual environment's link to it."""
    return getattr(sys, "_base_executable", "") or sys.executable


def python() -> list[Bind]:
    """Return what a view needs for `interpreter`, which may be in a person's own folder."""
    prefix = Path(sys.base_prefix)
    return [] if prefix.is_relative_to("/usr") else [(prefix, prefix)]


def give(path: Path, user: int | None) -> None:
    """Make a file, or a folder with all in it, a user's; links' targets stay whose they are."""
    if user is None:
        return
    os.chown(path, user, user, follow_symlinks=False)
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            os.chown(os.path.join(folder, name), user, user, follow_symlinks=False)


def _capable() -> bool:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16) & _NEEDED == _NEEDED
    return False
