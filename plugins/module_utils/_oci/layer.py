"""Layers whose bytes depend on nothing but what is in them.

Entries are sorted, owned by root, dated 1970 and of two modes (0644, 0755). The uncompressed digest
(diff ID) is the same on every machine. The compressed one is too wherever zlib packs alike; zlib-ng
does not, so images are compared by diff IDs.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, cast

MEDIA_TYPES = {
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "none": "application/vnd.oci.image.layer.v1.tar",
}
#: Header of a gzip file without name and time, from an unknown operating system (RFC 1952).
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_GZIP_LEVEL = 6


@dataclass(frozen=True)
class Entry:
    """A file of a layer: `path` without a leading slash; a link has a `link` and no content."""

    path: str
    content: bytes = b""
    executable: bool = False
    link: str | None = None


@dataclass(frozen=True)
class Layer:
    """A layer as manifests (media type, digest, size in bytes) and configurations (diff ID) know it."""

    media_type: str
    digest: str
    size: int
    diff_id: str

    def descriptor(self) -> dict[str, str | int]:
        """Return the layer's entry in a manifest."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}

    def as_dict(self) -> dict[str, str | int]:
        """Return the layer, to be stored."""
        return asdict(self)


def write_layer(entries: Iterable[Entry], path: Path, compression: str) -> Layer:
    """Write a layer's file; later entries win over earlier ones of the same path."""
    files = {entry.path: entry for entry in entries}
    with path.open("wb") as file:
        output = _Output(file, compress=compression == "gzip")
        with tarfile.open(
            fileobj=cast(BinaryIO, output), mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20
        ) as tar:
            for name in sorted(_folders(files)):
                tar.addfile(_info(name, tarfile.DIRTYPE, executable=True))
            for name in sorted(files):
                _add(tar, files[name])
        output.finish()
    return Layer(MEDIA_TYPES[compression], output.digest, output.size, output.diff_id)


def _folders(files: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for name in files:
        while (name := os.path.dirname(name)) and name not in found:
            found.add(name)
    return found


def _add(tar: tarfile.TarFile, entry: Entry) -> None:
    if entry.link is not None:
        info = _info(entry.path, tarfile.SYMTYPE, executable=True)
        info.linkname = entry.link
        tar.addfile(info)
    else:
        info = _info(entry.path, tarfile.REGTYPE, executable=entry.executable)
        info.size = len(entry.content)
        tar.addfile(info, io.BytesIO(entry.content))


def _info(name: str, kind: bytes, *, executable: bool) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)  # owner root, time 0
    info.type, info.mode = kind, 0o755 if executable else 0o644
    return info


class _Output:
    """A file that compresses, counts and digests what is written to it."""

    def __init__(self, file: BinaryIO, *, compress: bool) -> None:
        self._file = file
        self._packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._compress = compress
        self._plain, self._packed = hashlib.sha256(), hashlib.sha256()
        self._crc, self._length = 0, 0
        self.size = 0
        if compress:
            self._out(_GZIP_HEADER)

    def write(self, data: bytes) -> int:
        """Take the next part of the tar."""
        self._plain.update(data)
        if self._compress:
            self._crc = zlib.crc32(data, self._crc)
            self._length += len(data)
            self._out(self._packer.compress(data))
        else:
            self._out(data)
        return len(data)

    def finish(self) -> None:
        """Write what is left."""
        if self._compress:
            trailer = (self._crc, self._length & 0xFFFFFFFF)
            self._out(self._packer.flush() + b"".join(n.to_bytes(4, "little") for n in trailer))

    @property
    def digest(self) -> str:
        """Digest of the file."""
        return f"sha256:{self._packed.hexdigest()}"

    @property
    def diff_id(self) -> str:
        """Digest of the tar."""
        return f"sha256:{self._plain.hexdigest()}"

    def _out(self, data: bytes) -> None:
        self._packed.update(data)
        self.size += len(data)
        self._file.write(data)
