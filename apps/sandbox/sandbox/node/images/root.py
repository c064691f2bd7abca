"""Lays out the root folder of one container."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from sandbox.node.images.image import Image
from sandbox.node.images.unpack import resolve

#: Folder name -> what is mounted in it; a mount itself is an empty tree.
_Tree = dict[str, "_Tree"]


def make_root(image: Image, root: Path, *, read_only: bool, mounts: Iterable[str] = ()) -> None:
    """Make `root` hold the image's files, with room for `mounts` (absolute paths in it).

    With `read_only` (readOnlyRootFilesystem) files are links into the store: nothing is copied, and
    as nothing enforces it, a container that writes all the same changes the image for all others.
    Otherwise the container gets a copy of its own. The folders above mounts are always its own;
    a mount's own path is left free, for the folder or file that is mounted.
    """
    tree: _Tree = {}
    for mount in sorted(mounts):
        node = tree
        for part in resolve(image.rootfs, mount).relative_to(image.rootfs).parts:
            node = node.setdefault(part, {})
    root.mkdir(parents=True, exist_ok=True)
    _fill(image.rootfs, root, tree, _link if read_only else _copy)


def _fill(source: Path, target: Path, mounts: _Tree, place: Callable[[Path, Path], None]) -> None:
    """Place what `source` holds in `target`, which exists; go down only to where mounts are."""
    for entry in os.scandir(source) if source.is_dir() else ():
        if entry.name not in mounts:
            place(Path(entry.path), target / entry.name)
    for name, below in mounts.items():
        if below:
            (target / name).mkdir(exist_ok=True)
            _fill(source / name, target / name, below, place)


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
