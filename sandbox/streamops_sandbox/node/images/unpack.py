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
        layer = _Layer(root)
        try:
            with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r|", bufsize=_CHUNK) as tar:
                for member in tar:
                    layer.add(tar, member)
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


class _Layer:
    """One layer on its way into `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        #: What this layer brought, and the folders above that: its whiteouts do not hide them.
        self.own: set[Path] = set()
        self._size = 0

    def add(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Apply one entry."""
        name = str(PurePosixPath("/", member.name))
        if ".." in PurePosixPath(member.name).parts:
            raise LayerError(f"entry {member.name!r} leads out of the image")
        if name == "/":
            return
        folder = self._folder(os.path.dirname(name))
        base = os.path.basename(name)
        if base == _OPAQUE:
            for child in folder.iterdir():
                self._remove_lower(child)
            return
        if base.startswith(_WHITEOUT):
            hidden = base.removeprefix(_WHITEOUT)
            if hidden in ("", ".", ".."):
                raise LayerError(f"entry {member.name!r} hides no file of its folder")
            self._remove_lower(folder / hidden)
            return
        path = folder / base
        if member.isdir():
            self._make_folder(path)
            path.chmod(member.mode & 0o777 | 0o700)
        elif member.issym():
            self._clear(path)
            path.symlink_to(self._inside(path, member.linkname))
        elif member.islnk():
            source = resolve(self.root, member.linkname, follow_last=False)
            if not os.path.lexists(source):
                raise LayerError(f"entry {member.name!r} links to {member.linkname!r}: not there")
            if source != path:
                self._clear(path)
                self._link(source, path)
        elif member.isfile():
            self._size += member.size
            if self._size > _MAX_BYTES:
                raise LayerError(f"the layer unpacks to more than {_MAX_BYTES} bytes")
            self._clear(path)
            self._write(tar, member, path)
        else:
            return  # a device, FIFO or socket
        self.own.add(path)
        while folder not in self.own and folder != self.root:
            self.own.add(folder)
            folder = folder.parent

    def _link(self, source: Path, path: Path) -> None:
        """Make a hard link; one to a link becomes a link that leads there from its own place."""
        if source.is_symlink():
            target = "/" / source.parent.relative_to(self.root) / os.readlink(source)
            path.symlink_to(self._inside(path, os.path.normpath(target)))
        else:
            os.link(source, path, follow_symlinks=False)

    def _write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        source = tar.extractfile(member)
        assert source is not None  # isfile()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            shutil.copyfileobj(source, file, _CHUNK)
            os.fchmod(descriptor, member.mode & 0o777 | 0o600)
            os.utime(descriptor, (member.mtime, member.mtime))

    def _folder(self, name: str) -> Path:
        """Return the folder `name`, made where it is missing; links on the way stay inside."""
        path = resolve(self.root, name)
        missing = path
        while not missing.is_dir():
            missing = missing.parent
        for part in path.relative_to(missing).parts:
            missing /= part
            self._make_folder(missing)
        return missing

    def _make_folder(self, path: Path) -> None:
        if path.is_symlink() or not path.is_dir():
            self._clear(path)
            path.mkdir()
            path.chmod(0o755)

    def _inside(self, path: Path, target: str) -> str:
        """Return a link target that is relative and cannot climb above the root."""
        depth = len(path.parent.relative_to(self.root).parts)
        if target.startswith("/"):
            below = PurePosixPath(os.path.normpath(target)).parts[1:]
            return "/".join([*[".."] * depth, *below]) or "."
        # Normalized: behind a folder that is a link itself, `..` would lead anywhere.
        parts = PurePosixPath(os.path.normpath(target)).parts
        above = sum(part == ".." for part in parts)
        return "/".join(parts[max(0, above - depth) :]) or "."

    def _remove_lower(self, path: Path) -> None:
        """Remove what lower layers have at `path`; what this layer brought stays."""
        if path not in self.own:
            self._clear(path)
        elif path.is_dir() and not path.is_symlink():
            for child in path.iterdir():
                self._remove_lower(child)

    def _clear(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
