"""Lays out the root folder of one container."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from streamops_sandbox.node.images.image import Image
from streamops_sandbox.node.images.unpack import resolve


def make_root(image: Image, root: Path, *, read_only: bool, mounts: Iterable[str] = ()) -> None:
    """Make `root` hold the image's files, with room for `mounts` (absolute paths in it).

    With `read_only` (readOnlyRootFilesystem) files are links into the store: nothing is copied, and
    as nothing enforces it, a container that writes all the same changes the image for all others.
    Otherwise the container gets a copy of its own. The folders above mounts are always its own.
    """
    if not read_only:
        shutil.copytree(image.rootfs, root, symlinks=True, dirs_exist_ok=True)
        return
    _own(image.rootfs, root)
    for mount in mounts:
        links: list[Path] = []
        path = resolve(image.rootfs, mount, links=links)
        # Links on the way are seen from the container's own folders: in the store they lead there.
        for inner in (path, *links):
            for folder in reversed(inner.relative_to(image.rootfs).parents):
                _own(image.rootfs / folder, root / folder)
        place = root / path.relative_to(image.rootfs)
        if place.is_symlink():
            place.unlink()


def _own(source: Path, target: Path) -> None:
    """Make a folder the container's own, with links to what the image has in it."""
    if target.is_symlink():
        target.unlink()
    elif target.is_dir() and any(target.iterdir()):
        return
    target.mkdir(parents=True, exist_ok=True)
    for entry in os.scandir(source) if source.is_dir() else ():
        # A relative link may lead to a mount, so it has to be seen from here.
        link = os.readlink(entry) if entry.is_symlink() else entry.path
        (target / entry.name).symlink_to(link)
