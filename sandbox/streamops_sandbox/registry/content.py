"""What the registry holds: blobs in a folder, and in memory what each repository has of them."""

from __future__ import annotations

import hashlib
import re
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from streamops_sandbox import oci
from streamops_sandbox.registry.errors import RegistryError


def check_name(name: str) -> str:
    """Return `name` if it can be a repository's."""
    if not oci.NAME.fullmatch(name) or len(name) > 255:
        raise RegistryError("NAME_INVALID", {"name": name})
    return name


def check_digest(digest: str) -> str:
    """Return `digest` if it is one; SHA-256 only."""
    if not oci.DIGEST.fullmatch(digest):
        raise RegistryError("DIGEST_INVALID", {"digest": digest}, message="invalid digest")
    return digest


def digest_of(content: bytes) -> str:
    """Return the digest of content that is at hand."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Repository:
    """One repository: digests of its blobs, content and media type of its manifests, its tags.

    `referrers` are the digests of manifests by that of their subject.
    """

    blobs: set[str] = field(default_factory=set)
    manifests: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    referrers: dict[str, dict[str, None]] = field(default_factory=dict)


class Content:
    """All repositories; empty at the start."""

    def __init__(self, folder: Path) -> None:
        """Empty `folder` to keep blobs there."""
        self._folder = folder
        self._repositories: dict[str, Repository] = {}
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "uploads").mkdir(parents=True)

    def repository(self, name: str) -> Repository:
        """Return what a repository holds, which may be nothing."""
        return self._repositories.get(check_name(name)) or Repository()

    def _own(self, name: str) -> Repository:
        return self._repositories.setdefault(check_name(name), Repository())

    # -- blobs ---------------------------------------------------------------------------------

    def blob(self, name: str, digest: str) -> Path:
        """Return the file of a blob that the repository has."""
        if check_digest(digest) not in self.repository(name).blobs:
            raise RegistryError("BLOB_UNKNOWN", {"digest": digest})
        return self._folder / digest.replace(":", "-")

    def put_blob(self, name: str, content: bytes) -> str:
        """Store content that is at hand; returns its digest."""
        upload = self.new_upload()
        self.upload(upload).write_bytes(content)
        digest = digest_of(content)
        self.finish_upload(name, upload, digest)
        return digest

    def new_upload(self) -> str:
        """Begin an upload; returns its id."""
        upload = str(uuid.uuid4())
        (self._folder / "uploads" / upload).touch()
        return upload

    def upload(self, upload: str) -> Path:
        """Return the file that an upload has been written to so far."""
        path = self._folder / "uploads" / upload
        if not re.fullmatch(r"[0-9a-f-]{36}", upload) or not path.exists():
            raise RegistryError("BLOB_UPLOAD_UNKNOWN", {"upload": upload})
        return path

    def finish_upload(self, name: str, upload: str, digest: str) -> None:
        """Make an upload a blob of the repository, if its content has this digest."""
        path = self.upload(upload)
        with path.open("rb") as file:
            actual = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        if actual != check_digest(digest):
            path.unlink()
            raise RegistryError("DIGEST_INVALID", {"expected": digest, "actual": actual})
        path.replace(self._folder / digest.replace(":", "-"))
        self.link_blob(name, digest)

    def link_blob(self, name: str, digest: str) -> None:
        """Make a blob that is stored known to a repository."""
        self._own(name).blobs.add(digest)

    # -- manifests and tags --------------------------------------------------------------------

    def manifest(self, name: str, reference: str) -> tuple[bytes, str, str]:
        """Return a manifest's bytes, digest and media type, by tag or digest."""
        repository = self.repository(name)
        digest = repository.tags.get(reference, reference)
        if digest not in repository.manifests:
            raise RegistryError("MANIFEST_UNKNOWN", {"name": name, "reference": reference})
        content, media_type = repository.manifests[digest]
        return content, digest, media_type

    def put_manifest(
        self, name: str, reference: str, content: bytes, media_type: str, subject: str = ""
    ) -> str:
        """Store a manifest by its digest or under a tag, as a referrer of its subject; returns the digest."""
        digest = digest_of(content)
        if ":" not in reference:
            if not oci.TAG.fullmatch(reference):
                raise RegistryError("TAG_INVALID", {"tag": reference})
        elif check_digest(reference) != digest:
            raise RegistryError("DIGEST_INVALID", {"expected": reference, "actual": digest})
        repository = self._own(name)
        repository.manifests[digest] = (content, media_type)
        if subject:
            repository.referrers.setdefault(subject, {})[digest] = None
        if ":" not in reference:
            repository.tags[reference] = digest
        return digest
