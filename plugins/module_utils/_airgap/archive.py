"""The file of a bundle: an OCI image layout in a tar archive.

https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md. The place of each member follows
from the names and sizes of all, so that blobs can be written in any order, and what an interrupted run has
written is found again. The same content gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import BundleError

#: The checksums of all other members but the format's own mark, as `sha256sum -c` reads them.
CHECKSUMS = "SHA256SUMS"
_LAYOUT = ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
_BLOBS = "blobs/sha256/"
_BLOCK = 512
_CHUNK = 1 << 20
#: Bytes; no document of a bundle is larger.
_LARGEST_DOCUMENT = 64 << 20


def blob_name(digest: str) -> str:
    """Return the name of a blob's member."""
    return _BLOBS + digest.removeprefix("sha256:")


@dataclass(frozen=True)
class Section:
    """Some bytes of a file; opened like a path."""

    path: Path
    offset: int
    size: int
    #: Called with the number of bytes after each read.
    note: Callable[[int], object] = field(default=lambda _count: None, compare=False)

    def open(self, _mode: str = "rb") -> Any:
        """Return a reader of these bytes."""
        return _SectionReader(self)

    def digest(self) -> str:
        """Return the digest of what the file has there."""
        hasher = hashlib.sha256()
        with self.open() as reader:
            while chunk := reader.read(_CHUNK):
                hasher.update(chunk)
        return f"sha256:{hasher.hexdigest()}"


class _SectionReader(io.RawIOBase):
    """Reads a section from its beginning to its end."""

    def __init__(self, section: Section) -> None:
        super().__init__()
        self._file = os.open(section.path, os.O_RDONLY | os.O_CLOEXEC)
        self._offset, self._left, self._note = section.offset, section.size, section.note

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = os.pread(self._file, min(len(buffer), self._left), self._offset)
        buffer[: len(chunk)] = chunk
        self._offset += len(chunk)
        self._left -= len(chunk)
        self._note(len(chunk))
        return len(chunk)

    def close(self) -> None:
        if not self.closed:
            os.close(self._file)
        super().close()


class Archive:
    """A file with a bundle, or with a part of one."""

    def __init__(self, path: Path, members: Mapping[str, Section]) -> None:
        self.path = path
        self._members = members

    @classmethod
    def read(cls, path: Path) -> Archive:
        """Find the members of a file; BundleError where it is not a bundle."""
        try:
            with tarfile.open(path, "r:") as tar:
                members = {
                    member.name: Section(path, member.offset_data, member.size)
                    for member in tar
                    if member.isreg()
                }
        except FileNotFoundError as error:
            raise BundleError(f"path: {path} does not exist") from error
        except (OSError, tarfile.TarError, EOFError) as error:
            raise BundleError(f"path: {path} is not a bundle, or is cut off: {error}") from error
        if _LAYOUT[0] not in members or CHECKSUMS not in members:
            raise BundleError(
                f"path: {path} is not a bundle: it has no {CHECKSUMS}. Make one with"
                " streamops.knative.knative_bundle"
            )
        return cls(path, members)

    @classmethod
    def read_remains(cls, path: Path) -> Archive:
        """Find the members of a file that an interrupted run may have left; none where there is none."""
        try:
            return cls.read(path)
        except BundleError:
            return cls(path, {})

    @property
    def is_bundle(self) -> bool:
        """Whether anything was found."""
        return bool(self._members)

    def document(self, name: str) -> bytes:
        """Return the content of a small member; BundleError where it is missing."""
        section = self.section(name)
        if section.size > _LARGEST_DOCUMENT:
            raise BundleError(f"path: {self.path}: {name} is too large: make the bundle again")
        with section.open() as reader:
            content: bytes = reader.readall()
        return content

    def section(self, name: str) -> Section:
        """Return where a member is; BundleError where it is missing."""
        section = self._members.get(name)
        if section is None:
            raise BundleError(f"path: {self.path}: {name} is missing: make the bundle again")
        return section

    def find(self, name: str) -> Section | None:
        """Return where a member is."""
        return self._members.get(name)

    def checksums(self) -> dict[str, str]:
        """Return the digest that each member has to have."""
        lines = self.document(CHECKSUMS).decode(errors="replace").splitlines()
        pairs = [line.partition("  ") for line in lines]
        return {name: f"sha256:{digest}" for digest, _space, name in pairs}

    def problem(self, name: str, digest: str) -> str:
        """Return what is wrong with a member; empty where it is as its digest says."""
        section = self._members.get(name)
        if section is None:
            return f"{name} is missing"
        return "" if section.digest() == digest else f"{name} is damaged"


class Plan:
    """Where everything of a bundle is in its file.

    `documents` are contents by member name, `blobs` sizes by digest of what is fetched.
    """

    def __init__(self, documents: Mapping[str, bytes], blobs: Mapping[str, int]) -> None:
        digests = {name: hashlib.sha256(text).hexdigest() for name, text in documents.items()}
        digests |= {blob_name(digest): digest.removeprefix("sha256:") for digest in blobs}
        lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
        self.documents = dict([_LAYOUT, (CHECKSUMS, "".join(lines).encode()), *documents.items()])
        self.blobs = dict(blobs)
        self._headers: list[tuple[int, bytes]] = []
        self._offsets: dict[str, int] = {}
        end = 0
        sizes = {name: len(text) for name, text in self.documents.items()}
        sizes |= {blob_name(digest): size for digest, size in sorted(self.blobs.items())}
        for name, size in sizes.items():
            self._headers.append((end, _header(name, size)))
            self._offsets[name] = end + _BLOCK
            end += _BLOCK + -(-size // _BLOCK) * _BLOCK
        self.size = end + 2 * _BLOCK

    def is_of(self, archive: Archive) -> bool:
        """Return whether a file has this plan, whatever of it is written."""
        section = archive.find(CHECKSUMS)
        return (
            section is not None
            and section.offset == self._offsets[CHECKSUMS]
            and archive.document(CHECKSUMS) == self.documents[CHECKSUMS]
        )

    def has_documents(self, archive: Archive) -> bool:
        """Return whether all documents of a file are as they are planned."""
        return all(
            archive.find(name) is not None and archive.document(name) == text
            for name, text in self.documents.items()
        )

    def begin(self, file: int) -> None:
        """Write all that is known into an open file, and give it its size."""
        os.ftruncate(file, self.size)
        for offset, header in self._headers:
            _write(file, header, offset)
        for name, text in self.documents.items():
            _write(file, text, self._offsets[name])

    def write(self, file: int, digest: str, position: int, chunk: bytes) -> None:
        """Write a part of a blob."""
        _write(file, chunk, self._offsets[blob_name(digest)] + position)

    def copy(self, file: int, digest: str, section: Section) -> None:
        """Write a blob that another file has."""
        position = 0
        with section.open() as reader:
            while chunk := reader.read(_CHUNK):
                self.write(file, digest, position, chunk)
                position += len(chunk)


def intact(archive: Archive, blobs: Mapping[str, int]) -> dict[str, Section]:
    """Return where a file has those of the blobs that it has, verified by their digests."""
    found = {digest: archive.find(blob_name(digest)) for digest in blobs}
    return {
        digest: section
        for digest, section in found.items()
        if section and section.size == blobs[digest] and section.digest() == digest
    }


def problems(archive: Archive, checksums: Iterable[tuple[str, str]]) -> list[str]:
    """Return what is wrong with members, given as names and digests."""
    found = [archive.problem(name, digest) for name, digest in checksums]
    return [problem for problem in found if problem]


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


def _write(file: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written
