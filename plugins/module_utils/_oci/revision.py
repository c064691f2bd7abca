"""The commit that an application's files are of."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

_SECONDS = 10.0


def committed_revision(paths: Sequence[Path]) -> str:
    """Return the newest commit that changed something at `paths`; empty where there is none to name.

    There is none outside of a git checkout, with uncommitted changes, and without git.
    """
    folder = paths[0]
    names = [os.path.relpath(path, folder) for path in paths]
    if _git(folder, "status", "--porcelain", "--", *names) != "":
        return ""
    return (_git(folder, "log", "-1", "--format=%H", "--", *names) or "").strip()


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints about a folder; None where it fails."""
    # Variables of a hook that runs this may name another repository.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and no option comes from outside
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's git
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout if done.returncode == 0 else None
