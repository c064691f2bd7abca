"""What the controller keeps between runs: dependency layers, and manifests by digest.

Content is written under its name by a rename, so parallel tasks never see half of it; a lock keeps
them from building the same layer twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_UNUSED_SECONDS = 30 * 24 * 3600


class Cache:
    """A folder; entries that were not used for a month are removed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.mkdir(parents=True, exist_ok=True)

    def path(self, kind: str, key: str) -> Path:
        """Return where an entry is, or would be."""
        return self.root / f"{kind}-{key.replace(':', '-')}"

    def get(self, kind: str, key: str) -> Any:
        """Return a JSON entry, None where there is none."""
        path = self.path(kind, key)
        try:
            content = json.loads(path.read_bytes())
            os.utime(path)
        except (FileNotFoundError, ValueError):
            return None
        return content

    def put(self, kind: str, key: str, content: Any) -> None:
        """Keep a JSON entry."""
        with self.temporary() as temporary:
            temporary.write_text(json.dumps(content), encoding="utf-8")
            temporary.replace(self.path(kind, key))
        self._expire()

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Path]:
        """Yield a file to be moved to its place; it is removed where it was not."""
        handle, name = tempfile.mkstemp(prefix="new-", dir=self.root)
        os.close(handle)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Let one process at a time work on a key."""
        with self.path("lock", key).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _expire(self) -> None:
        for path in self.root.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _UNUSED_SECONDS:
                    path.unlink()
