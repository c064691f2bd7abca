"""Applies a layer to a folder, as the OCI image specification describes, and never outside of it.

https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md. Links are stored so that they
stay inside without a chroot: an absolute target becomes a relative one. Devices, ownership and the
set-user-ID bits are left out, as the node is not root.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_MAX_LINKS = 40
_CHUNK = 1 << 20
_MAX_BYTES = 16 << 30


class LayerError(Exception):
    """A layer that is damaged, or not of a kind that can be unpacked."""


def resolve(
    root: Path, path: str, *, follow_last: bool = True, links: list[Path] | None = None
) -> Path:
    """Return where `path` is below `root`, following links as if `root` were `/`.

    `..` never leads above `root`. Parts that do not exist are taken as they are. The links that
    were followed are added to `links`.
    """
    pending = list(PurePosixPath("/", path).parts[:0:-1])
    done: list[str] = []
    followed = [] if links is None else links
    while pending:
        part = pending.pop()
        if part == "..":
            del done[-1:]
            continue
        candidate = root.joinpath(*done, part)
        if (pending or follow_last) and candidate.is_symlink():
            followed.append(candidate)
            if len(followed) > _MAX_LINKS:
                raise LayerError(f"too many links in {path}")
            target = PurePosixPath(os.readlink(candidate))
            if target.is_absolute():
                done = []
            pending.extend(part for part in reversed(target.parts) if part != "/")
        else:
            done.append(part)
    return root.joinpath(*done)


def apply_layer(blob: Path, media_type: str, root: Path) -> str:
    """Unpack a layer's blob over what is in `root`; returns its diff ID (uncompressed digest)."""
    with _open(blob, media_type) as opened:
        stream = _Hashing(opened)
        unpacked, own = 0, set[Path]()
        try:
            with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r|", bufsize=_CHUNK) as tar:
                for member in tar:
                    if (unpacked := unpacked + member.size) > _MAX_BYTES:
                        raise LayerError(f"the layer unpacks to more than {_MAX_BYTES} bytes")
                    if PurePosixPath(member.name).name.startswith(_WHITEOUT):
                        _hide(member.name, root, own)
                    else:
                        path = _extract(tar, member, root)
                        own.update((path, *path.parents))
            stream.drain()
        except (tarfile.TarError, EOFError, OSError, ValueError) as error:
            raise LayerError(f"{type(error).__name__}: {error}") from error
    return f"sha256:{stream.hasher.hexdigest()}"


def _open(blob: Path, media_type: str) -> BinaryIO:
    if media_type.endswith((".tar+gzip", ".tar.gzip")):
        return cast(BinaryIO, gzip.open(blob))
    if media_type.endswith(".tar"):
        return blob.open("rb")
    raise LayerError(f"layers of type {media_type} cannot be unpacked here")


class _Hashing:
    """A readable stream that digests what is read from it."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.hasher = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        self.hasher.update(data)
        return data

    def drain(self) -> None:
        while self.read(_CHUNK):
            pass


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path) -> Path:
    """Make one entry below `root` and return its path; links on the way to it stay inside."""
    path = _place(member.name, root)
    for folder in reversed(path.relative_to(root).parents):
        _make_folder(root / folder)
    if path == root:
        return path
    if member.isdir():
        _make_folder(path, member.mode & 0o777 | 0o700)
    elif member.issym():
        _clear(path)
        path.symlink_to(_inside(root, path, member.linkname))
    elif member.islnk():
        source = resolve(root, member.linkname, follow_last=False)
        if source.is_symlink():  # it would lead elsewhere from another place
            raise LayerError(f"entry {member.name!r} is a hard link to a link")
        if source != path:
            _clear(path)
            os.link(source, path)
    elif member.isfile():
        _clear(path)  # lower layers have the same file
        content = tar.extractfile(member)
        assert content is not None  # isfile()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            shutil.copyfileobj(content, file, _CHUNK)
            os.fchmod(descriptor, member.mode & 0o777 | 0o600)
            os.utime(descriptor, (member.mtime, member.mtime))
    return path


def _place(entry: str, root: Path) -> Path:
    name = PurePosixPath("/", entry)
    if ".." in name.parts:
        raise LayerError(f"entry {entry!r} leads out of the image")
    return resolve(root, str(name), follow_last=False)


def _hide(entry: str, root: Path, own: set[Path]) -> None:
    """Remove what a whiteout hides of lower layers; what this layer brought stays."""
    path = _place(entry, root)
    hidden = path.name.removeprefix(_WHITEOUT)
    if hidden in ("", ".", ".."):
        raise LayerError(f"entry {entry!r} hides no file of its folder")
    if path.name != _OPAQUE:
        _remove_lower(path.with_name(hidden), own)
    elif path.parent.is_dir():
        for child in path.parent.iterdir():
            _remove_lower(child, own)


def _remove_lower(path: Path, own: set[Path]) -> None:
    if path not in own:
        _clear(path)
    elif path.is_dir() and not path.is_symlink():
        for child in path.iterdir():
            _remove_lower(child, own)


def _make_folder(path: Path, mode: int | None = None) -> None:
    if path.is_symlink() or not path.is_dir():
        _clear(path)
        path.mkdir()
        mode = mode or 0o755
    if mode is not None:
        path.chmod(mode)


def _inside(root: Path, path: Path, target: str) -> str:
    """Return a link target that is relative and cannot climb above the root."""
    depth = len(path.parent.relative_to(root).parts)
    # Normalized: behind a folder that is a link itself, `..` would lead anywhere.
    parts = PurePosixPath(os.path.normpath(target)).parts
    if target.startswith("/"):
        return "/".join([*[".."] * depth, *parts[1:]]) or "."
    above = sum(part == ".." for part in parts)
    return "/".join(parts[max(0, above - depth) :]) or "."


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
