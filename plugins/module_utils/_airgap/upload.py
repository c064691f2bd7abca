"""Brings a bundle's images into a registry: only what is missing there, each image's tag last."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from .._kubernetes.download import write_whole
from .._oci.reference import Reference
from .._oci.registry import INDEX_TYPES, MANIFEST_TYPES, Repository
from . import contents as listing
from .archive import Archive, blob_name, problems
from .contents import Contents, Image
from .errors import BundleError
from .transfer import Transfer

Json = dict[str, Any]
_TAG_DIGITS = 12


@dataclass(frozen=True)
class Missing:
    """An image that a registry lacks: its blobs that are not in the repository, and its manifests."""

    image: Image
    repository: Repository
    blobs: Mapping[str, int]
    manifests: Sequence[Json]

    @property
    def size(self) -> int:
        """Bytes of the blobs."""
        return sum(self.blobs.values())


@dataclass
class Uploader:
    """Pushes what `archive` has, `workers` images at a time."""

    archive: Archive
    contents: Contents
    registry: str
    open_repository: Callable[[Reference], Repository]
    transfer: Transfer
    workers: int
    _owners: dict[str, str] = field(default_factory=dict)
    _locks: defaultdict[str, threading.Lock] = field(
        default_factory=lambda: defaultdict(threading.Lock)
    )

    def references(self) -> dict[str, str]:
        """Return what each of the bundle's images is called in the registry, by digest."""
        return {
            image.reference: f"{self._target(image).repository}@{image.digest}"
            for image in self.contents.images
        }

    def missing(self) -> list[Missing]:
        """Return what the registry lacks; only reads."""
        index = json.loads(self.archive.document(listing.INDEX))
        entries = {entry["digest"]: entry for entry in index["manifests"]}
        work = [
            partial(self._missing, image, entries.get(image.digest))
            for image in self.contents.images
        ]
        return [one for one in self.transfer.run(work, self.workers) if one]

    def verify(self) -> None:
        """Raise BundleError naming everything of the bundle that is missing or damaged."""
        checksums = sorted(self.archive.checksums().items())
        halves = [checksums[number :: self.workers] for number in range(self.workers)]
        work = [partial(problems, self.archive, half) for half in halves]
        found = [text for part in self.transfer.run(work, self.workers) for text in part]
        if found:
            raise BundleError(
                f"path: {self.archive.path} is damaged; nothing was pushed. Copy it again, or make it"
                " again where it was made, which fetches only what is damaged:\n"
                + "\n".join(f"- {text}" for text in found)
            )

    def push(self, missing: Sequence[Missing]) -> None:
        """Push images; whoever pulls one by its tag or digest finds all of it."""
        self.transfer.total = sum(one.size for one in missing)
        self.transfer.run([partial(self._push, one) for one in missing], self.workers)

    def _target(self, image: Image) -> Reference:
        source = Reference.parse(image.reference, "path")
        target = Reference.parse(f"{self.registry}/{source.name}", "registry")
        # What no tag names is garbage to many registries.
        tag = f"bundle-{image.digest.removeprefix('sha256:')[:_TAG_DIGITS]}"
        return replace(target, tag=tag)

    def _missing(self, image: Image, entry: Json | None) -> Missing | None:
        if entry is None:
            raise BundleError(
                f"path: {self.archive.path}: {listing.INDEX} does not name {image.reference}: make the"
                " bundle again"
            )
        target = self._target(image)
        repository = self.open_repository(target)
        if repository.resolve(str(target.tag)) == image.digest:
            return None  # a registry takes no manifest without what it refers to
        manifests = list(self._manifests(entry))
        blobs = {
            blob["digest"]: blob["size"] for manifest in manifests for blob in self._blobs(manifest)
        }
        lacking = {d: size for d, size in blobs.items() if not repository.has_blob(d, size)}
        return Missing(image, repository, lacking, manifests)

    def _manifests(self, entry: Json) -> Iterator[Json]:
        """Yield the descriptors of a manifest, or of an index's manifests and then its own."""
        if entry["mediaType"] in INDEX_TYPES:
            yield from self._document(entry["digest"])["manifests"]
        yield entry

    def _blobs(self, entry: Json) -> list[Json]:
        if entry["mediaType"] not in MANIFEST_TYPES:
            return []
        manifest = self._document(entry["digest"])
        return [manifest["config"], *manifest["layers"]]

    def _document(self, digest: str) -> Json:
        name = blob_name(digest)
        if problem := self.archive.problem(name, digest):
            raise BundleError(
                f"path: {self.archive.path}: {problem}: copy or make the bundle again"
            )
        value: Json = json.loads(self.archive.document(name))
        return value

    def _push(self, missing: Missing) -> None:
        for digest, size in missing.blobs.items():
            with self._locks[digest]:
                self._push_blob(missing.repository, digest, size)
        for entry in missing.manifests:
            content = self.archive.document(blob_name(entry["digest"]))
            missing.repository.push_manifest(content, entry["mediaType"], entry["digest"])
        top = missing.manifests[-1]
        content = self.archive.document(blob_name(top["digest"]))
        tag = str(missing.repository.reference.tag)
        missing.repository.push_manifest(content, top["mediaType"], tag)

    def _push_blob(self, repository: Repository, digest: str, size: int) -> None:
        """Upload a blob, or mount it from the repository that it was uploaded to."""
        name = repository.reference.name
        owner = self._owners.get(digest)
        if owner == name or (owner and repository.mount_blob(digest, owner)):
            self.transfer.add(size)
            return
        section = replace(self.archive.section(blob_name(digest)), note=self.transfer.add)
        repository.push_blob(section, digest, size)
        self._owners[digest] = name


def release_folder(archive: Archive, contents: Contents, cache: Path) -> Path:
    """Return a folder with the release files, verified; it is made below `cache`."""
    digest = hashlib.sha256(archive.document(listing.LIST)).hexdigest()
    folder = cache / f"bundle-{digest[:16]}"
    damaged = problems(archive, contents.files.items())
    if damaged:
        raise BundleError(
            f"path: {archive.path}: {'; '.join(damaged)}: copy or make the bundle again"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in contents.files:
            path, content = folder / name.rpartition("/")[2], archive.document(name)
            if not path.is_file() or path.read_bytes() != content:
                write_whole(path, content)
    except OSError as error:
        raise BundleError(f"cache_dir: {folder} cannot be written: {error.strerror}") from error
    return folder
