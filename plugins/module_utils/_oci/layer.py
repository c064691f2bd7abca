"""Layers whose bytes depend on nothing but what is in them.

Entries are sorted, owned by root, dated 1970 and of two modes (0644, 0755). The uncompressed digest
(diff ID) is the same on every machine. The compressed one is too wherever zlib packs alike; zlib-ng
does not, so images are compared by diff IDs.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

MEDIA_TYPES = {
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "none": "application/vnd.oci.image.layer.v1.tar",
}
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
    with path.open("wb") as file, ExitStack() as stack:
        packed = _Digested(file)
        output: Any = packed
        if compression == "gzip":  # without name and time
            output = stack.enter_context(
                gzip.GzipFile(
                    filename="",
                    mode="wb",
                    compresslevel=_GZIP_LEVEL,
                    fileobj=cast(Any, packed),
                    mtime=0,
                )
            )
        plain = _Digested(output)
        with tarfile.open(
            fileobj=cast(BinaryIO, plain), mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20
        ) as tar:
            for name in sorted(_folders(files)):
                tar.addfile(_info(name, tarfile.DIRTYPE, executable=True))
            for name in sorted(files):
                _add(tar, files[name])
    return Layer(MEDIA_TYPES[compression], packed.digest, packed.size, plain.digest)


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


class _Digested:
    """A file that counts and digests what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hasher = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        """Take the next part."""
        self._hasher.update(data)
        self.size += len(data)
        return self._file.write(data)

    @property
    def digest(self) -> str:
        """Digest of all parts."""
        return f"sha256:{self._hasher.hexdigest()}"
