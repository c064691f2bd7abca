"""Content on disk: blobs once for all repositories, and what each repository knows of them.

Layout below the registry's folder (a repository name's last component can never begin with `_`):

    blobs/sha256/HEX                       content, whoever refers to it
    uploads/UUID                           what has arrived of an upload
    temporary/                             files on their way to their name
    repositories/NAME/_blobs/sha256/HEX    the repository has this blob
    repositories/NAME/_manifests/sha256/HEX   … this manifest; holds its media type
    repositories/NAME/_tags/TAG            … this tag; holds a digest

Every write is a rename, so a reader, or the next start after a crash, sees the old or the new state.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from streamops_sandbox.registry.errors import RegistryError

_NAME = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"(?:sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})")
_UPLOAD_LIFETIME = 24 * 3600.0


def check_name(name: str) -> str:
    """Return `name` if it can be a repository's."""
    if not _NAME.fullmatch(name) or len(name) > 255:
        raise RegistryError("NAME_INVALID", {"name": name})
    return name


def check_digest(digest: str) -> str:
    """Return `digest` if it is one of an algorithm the specification registers."""
    if not _DIGEST.fullmatch(digest):
        raise RegistryError("DIGEST_INVALID", {"digest": digest}, message="invalid digest")
    return digest


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the digest of a file, `ALGORITHM:HEX`."""
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


class Storage:
    """Blobs, manifests and tags of all repositories."""

    def __init__(self, root: Path, *, max_bytes: int | None = None) -> None:
        """Open, or make, the folder `root`; `max_bytes` limits what all blobs take together."""
        self.root = root
        self.max_bytes = max_bytes
        for part in ("blobs", "uploads", "repositories", "temporary"):
            (root / part).mkdir(parents=True, exist_ok=True)
        self._sweep()
        self._used = sum(path.stat().st_size for path in self._all_blobs())

    # Blobs

    def blob_path(self, digest: str) -> Path:
        """Return where a blob's content is, or would be."""
        algorithm, _, hexadecimal = check_digest(digest).partition(":")
        return self.root / "blobs" / algorithm / hexadecimal

    def blob(self, name: str, digest: str) -> Path:
        """Return the file of a blob that the repository has."""
        if not self._link(name, "_blobs", digest).exists():
            raise RegistryError("BLOB_UNKNOWN", {"digest": digest})
        return self.blob_path(digest)

    def has_blob(self, name: str, digest: str) -> bool:
        """Tell whether the repository has a blob."""
        return self._link(name, "_blobs", digest).exists()

    def link_blob(self, name: str, digest: str) -> None:
        """Make a blob that is stored known to a repository."""
        self._write(self._link(name, "_blobs", digest), b"")

    def put_blob(self, name: str, content: bytes) -> str:
        """Store content that is at hand; returns its digest."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self._store(digest, content)
        self.link_blob(name, digest)
        return digest

    def delete_blob(self, name: str, digest: str) -> None:
        """Take a blob from a repository; its content goes at the next start if nobody has it."""
        self.blob(name, digest)
        self._link(name, "_blobs", digest).unlink()

    # Uploads

    def new_upload(self) -> str:
        """Begin an upload; returns its id."""
        upload = str(uuid.uuid4())
        (self.root / "uploads" / upload).touch()
        return upload

    def upload(self, upload: str) -> Path:
        """Return the file that an upload has been written to so far."""
        path = self.root / "uploads" / upload
        if not re.fullmatch(r"[0-9a-f-]{36}", upload) or not path.exists():
            raise RegistryError("BLOB_UPLOAD_UNKNOWN", {"upload": upload})
        return path

    def check_room(self, more: int) -> None:
        """Refuse `more` bytes beyond the limit."""
        if self.max_bytes is not None and self._used + more > self.max_bytes:
            raise RegistryError(
                "DENIED",
                {"max_bytes": self.max_bytes, "used_bytes": self._used},
                message=f"the registry is full: its limit is {self.max_bytes} bytes",
            )

    def finish_upload(self, name: str, upload: str, digest: str) -> None:
        """Make an upload a blob of the repository, if its content has this digest."""
        path = self.upload(upload)
        actual = file_digest(path, check_digest(digest).partition(":")[0])
        if actual != digest:
            path.unlink()
            raise RegistryError("DIGEST_INVALID", {"expected": digest, "actual": actual})
        target = self.blob_path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            self._used += path.stat().st_size
        os.replace(path, target)
        self.link_blob(name, digest)

    # Manifests and tags

    def manifest(self, name: str, reference: str) -> tuple[bytes, str, str]:
        """Return a manifest's bytes, digest and media type, by tag or digest."""
        digest = reference if ":" in reference else self._tag_digest(name, reference)
        link = self._link(name, "_manifests", digest)
        if not link.exists():
            raise RegistryError("MANIFEST_UNKNOWN", {"name": name, "reference": reference})
        return self.blob_path(digest).read_bytes(), digest, link.read_text()

    def has_manifest(self, name: str, digest: str) -> bool:
        """Tell whether the repository has a manifest."""
        return self._link(name, "_manifests", digest).exists()

    def put_manifest(
        self, name: str, content: bytes, media_type: str, digest: str, tag: str | None
    ) -> None:
        """Store a manifest under its digest; then, at once for readers, let the tag name it."""
        self._store(digest, content)
        self._write(self._link(name, "_manifests", digest), media_type.encode())
        if tag is not None:
            self._write(self._repository(name) / "_tags" / tag, digest.encode())

    def delete_manifest(self, name: str, digest: str) -> None:
        """Remove a manifest and the tags that name it."""
        link = self._link(name, "_manifests", digest)
        if not link.exists():
            raise RegistryError("MANIFEST_UNKNOWN", {"name": name, "reference": digest})
        for tag in self.tags(name):
            if self._tag_digest(name, tag) == digest:
                self.delete_tag(name, tag)
        link.unlink()

    def delete_tag(self, name: str, tag: str) -> None:
        """Remove a tag; the manifest stays."""
        self._tag_digest(name, tag)
        (self._repository(name) / "_tags" / tag).unlink()

    def tags(self, name: str) -> list[str]:
        """Return a repository's tags in lexical order."""
        if not any((self._repository(name) / "_manifests").glob("*/*")):
            raise RegistryError("NAME_UNKNOWN", {"name": name})
        return sorted(path.name for path in (self._repository(name) / "_tags").glob("*"))

    def manifests(self, name: str) -> Iterator[tuple[bytes, str, str]]:
        """Yield every manifest of a repository: bytes, digest, media type."""
        for link in sorted((self._repository(name) / "_manifests").glob("*/*")):
            yield self.manifest(name, f"{link.parent.name}:{link.name}")

    def repositories(self) -> list[str]:
        """Return the names of all repositories that hold a manifest, in lexical order."""
        base = self.root / "repositories"
        return sorted(
            str(folder.parent.relative_to(base))
            for folder in base.rglob("_manifests")
            if any(folder.glob("*/*"))
        )

    # Inside

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.root / "temporary" / uuid.uuid4().hex
        temporary.write_bytes(content)
        os.replace(temporary, path)

    def _repository(self, name: str) -> Path:
        return self.root / "repositories" / check_name(name)

    def _link(self, name: str, kind: str, digest: str) -> Path:
        algorithm, _, hexadecimal = check_digest(digest).partition(":")
        return self._repository(name) / kind / algorithm / hexadecimal

    def _tag_digest(self, name: str, tag: str) -> str:
        if not TAG.fullmatch(tag):
            raise RegistryError("TAG_INVALID", {"tag": tag})
        try:
            return (self._repository(name) / "_tags" / tag).read_text()
        except FileNotFoundError:
            raise RegistryError("MANIFEST_UNKNOWN", {"name": name, "reference": tag}) from None

    def _store(self, digest: str, content: bytes) -> None:
        path = self.blob_path(digest)
        if not path.exists():
            self.check_room(len(content))
            self._write(path, content)
            self._used += len(content)

    def _all_blobs(self) -> Iterator[Path]:
        return (self.root / "blobs").glob("*/*")

    def _sweep(self) -> None:
        """Remove what a crash or a deletion left: old uploads, and content nobody refers to."""
        for path in (self.root / "uploads").iterdir():
            if time.time() - path.stat().st_mtime > _UPLOAD_LIFETIME:
                path.unlink()
        for path in (self.root / "temporary").iterdir():
            path.unlink()
        links = self.root / "repositories"
        known = {
            (path.parent.name, path.name)
            for kind in ("_blobs", "_manifests")
            for folder in links.rglob(kind)
            for path in folder.glob("*/*")
        }
        for path in self._all_blobs():
            if (path.parent.name, path.name) not in known:
                path.unlink()
