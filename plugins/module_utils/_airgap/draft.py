"""The unfinished file of a bundle: written by one process at a time, kept after an error, gone on with."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from .archive import Archive, Plan, intact
from .errors import BundleError
from .transfer import write_error

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


def remains(path: Path) -> list[Path]:
    """Return where blobs of a bundle may be: itself, and what interrupted runs have left."""
    return [path, _part(path), _old(path)]


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _old(path: Path) -> Path:
    """Return where the unfinished file of another content is kept while its blobs are of use."""
    return path.with_name(f"{path.name}.part.old")


class Draft:
    """The unfinished file of the bundle `path`, locked while it is open."""

    def __init__(self, path: Path) -> None:
        self.path, self._part = path, _part(path)
        self.file = -1

    def __enter__(self) -> Draft:
        try:
            while True:
                self.file = os.open(self._part, _FLAGS, 0o644)
                fcntl.flock(self.file, fcntl.LOCK_EX)
                if self._is_current():
                    return self
                os.close(self.file)  # the process that had the lock has completed it
        except OSError as error:
            raise write_error(error, self._part) from error

    def __exit__(self, *_exception: object) -> None:
        os.close(self.file)

    def prepare(self, plan: Plan) -> set[str]:
        """Write what is known of a bundle; return the blobs that are in the file, found or taken over."""
        part = Archive.read_remains(self._part)
        in_place = plan.is_of(part)
        if not in_place and part.is_bundle:
            self._renew()
        present = set(intact(Archive.read_remains(self._part), plan.blobs)) if in_place else set()
        self._check_space(plan)
        try:
            plan.begin(self.file)
            for path in (self.path, _old(self.path)):
                lacking = {d: size for d, size in plan.blobs.items() if d not in present}
                for digest, section in intact(Archive.read_remains(path), lacking).items():
                    plan.copy(self.file, digest, section)
                    present.add(digest)
        except OSError as error:
            raise write_error(error, self.path) from error
        return present

    def complete(self) -> None:
        """Put the file in the bundle's place."""
        try:
            self._part.replace(self.path)
            _old(self.path).unlink(missing_ok=True)
        except OSError as error:
            raise write_error(error, self.path) from error

    def discard(self) -> None:
        """Remove the file, where the bundle is complete already."""
        self._part.unlink()
        _old(self.path).unlink(missing_ok=True)

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self.file), self._part.stat())
        except FileNotFoundError:
            return False

    def _renew(self) -> None:
        """Begin another file; what the old one has is taken over from there."""
        try:
            self._part.replace(_old(self.path))
            file = os.open(self._part, _FLAGS | os.O_EXCL, 0o644)
        except OSError as error:
            raise write_error(error, self._part) from error
        os.close(self.file)
        self.file = file
        fcntl.flock(file, fcntl.LOCK_EX)

    def _check_space(self, plan: Plan) -> None:
        needed = plan.size - os.fstat(self.file).st_blocks * 512
        free = shutil.disk_usage(self.path.parent).free
        if needed > free:
            raise BundleError(
                f"path: the bundle takes {needed} bytes more, and the disk of {self.path.parent} has"
                f" {free} left: make room, or choose another disk"
            )
