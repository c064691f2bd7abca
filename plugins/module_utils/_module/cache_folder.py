"""The folder for what may be kept between runs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

NAME = "streamops.knative"


def cache_folder() -> Path:
    """Return a folder below the user's cache, or among the temporary files where that cannot be written.

    The latter is the case for users without a home directory of their own, as in containers.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / NAME
        present = next(path for path in (folder, *folder.parents) if path.exists())
        if os.access(present, os.W_OK):
            return folder
    except (OSError, RuntimeError):  # a home that cannot be entered, or that nobody knows
        pass
    return _temporary()


def _temporary() -> Path:
    """Return this user's folder among the temporary files, or a new one where others could write to it."""
    folder = Path(tempfile.gettempdir()) / f"{NAME}-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077:
        return Path(tempfile.mkdtemp(prefix=f"{NAME}-"))
    return folder
