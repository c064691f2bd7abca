"""Lays out the root folder of one container."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from streamops_sandbox.node.images.image import Image
from streamops_sandbox.node.images.unpack import resolve


def make_root(image: Image, root: Path, *, read_only: bool, mounts: Iterable[str] = ()) -> None:
    """Make `root` hold the image's files, with room for `mounts` (absolute paths in it).

    With `read_only` (readOnlyRootFilesystem) files are links into the store: nothing is copied, and
    as nothing enforces it, a container that writes all the same changes the image for all others.
    Otherwise the container gets a copy of its own. The folders above mounts are always its own;
    a mount's own path is left free, for the folder or file that is mounted.
    """
    free: set[Path] = set()
    own: set[Path] = {image.rootfs}
    for mount in mounts:
        links: list[Path] = []
        path = resolve(image.rootfs, mount, links=links)
        free.add(path)
        # Links on the way are seen from the container's own folders: in the store they lead there.
        for inner in (path, *links):
            own.update(inner.parents[: len(inner.relative_to(image.rootfs).parts)])
    _Layout(image.rootfs, root, own, free, _link if read_only else _copy).make(image.rootfs)


@dataclass(frozen=True)
class _Layout:
    """What of an image (paths in `source`) is how in a container's folder `target`.

    Folders in `own` are made and filled entry by entry; paths in `free` are left to a mount;
    `place` brings everything else.
    """

    source: Path
    target: Path
    own: set[Path]
    free: set[Path]
    place: Callable[[Path, Path], None]

    def make(self, folder: Path) -> None:
        """Make one of the own folders; it is empty where something is mounted over it."""
        self._target(folder).mkdir(parents=True, exist_ok=True)
        for inner in sorted(path for path in self.own if path.parent == folder):
            self.make(inner)
        if folder in self.free or not folder.is_dir():
            return
        for entry in os.scandir(folder):
            path = Path(entry.path)
            if path not in self.own and path not in self.free:
                self.place(path, self._target(path))

    def _target(self, path: Path) -> Path:
        return self.target / path.relative_to(self.source)


def _link(source: Path, target: Path) -> None:
    if source.is_symlink():  # relative: may lead to a mount, so it has to be seen from here
        target.symlink_to(os.readlink(source))
    else:
        target.symlink_to(source)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target, follow_symlinks=False)
