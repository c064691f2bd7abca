"""Brings a built image into a registry: only what is missing there, the tags last."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .cache import Cache
from .image import Document, Image, same_content
from .registry import Content, Repository

Json = dict[str, Any]


@dataclass
class Pushed:
    """What a push had to do, in blobs and bytes."""

    uploaded: list[str] = field(default_factory=list)
    mounted: list[str] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)
    bytes: int = 0


@dataclass(frozen=True)
class State:
    """What a repository has: for each tag the digest it names, and the manifest at the first one, with its size."""

    tags: Mapping[str, str | None]
    digest: str | None
    manifest: Json
    size: int = 0

    def is_at(self, digest: str) -> bool:
        """Return whether every tag names this digest."""
        return all(found == digest for found in self.tags.values())

    def descriptors(self) -> list[Json]:
        """Return the descriptor of the manifest and, of an index, those of its manifests."""
        kind = self.manifest["mediaType"]
        top = {"mediaType": kind, "digest": self.digest, "size": self.size}
        return [top, *self.manifest.get("manifests", [])]


class Pusher:
    """Pushes images of one base into a repository."""

    def __init__(
        self, target: Repository, base: Repository, cache: Cache, progress: Callable[[str], None]
    ) -> None:
        self.target = target
        self.base = base
        self.cache = cache
        self.progress = progress
        self.pushed = Pushed()
        self._there: set[str] = set()

    def state(self, tags: Sequence[str]) -> State:
        """Read what the tags name now."""
        found = self.target.manifest(tags[0])
        digests = {tags[0]: found[1] if found else None}
        digests.update({tag: self.target.resolve(tag) for tag in tags[1:]})
        manifest = json.loads(found[0]) if found else {}
        # A registry takes no manifest without its blobs: these need not be asked for again.
        blobs = [
            *manifest.get("layers", []),
            *([manifest["config"]] if "config" in manifest else []),
        ]
        self._there.update(blob["digest"] for blob in blobs)
        return State(digests, digests[tags[0]], manifest, len(found[0]) if found else 0)

    def same(
        self, state: State, document: Document, images: Sequence[Image], *, any_revision: bool
    ) -> bool:
        """Return whether the first tag's image is this one, whatever zlib packed its layers."""
        if state.digest == document.digest:
            return True
        if not state.manifest or state.manifest.get("mediaType") != document.media_type:
            return False
        if len(images) == 1 and "layers" in state.manifest:
            return same_content(document.value(), state.manifest, any_revision=any_revision)
        theirs = state.manifest.get("manifests", [])
        if len(theirs) != len(images):
            return False
        for image, entry in zip(images, theirs, strict=True):
            found = self.target.manifest(entry["digest"])
            if not found or not same_content(
                image.manifest.value(), json.loads(found[0]), any_revision=any_revision
            ):
                return False
        return True

    def push(
        self,
        images: Sequence[Image],
        document: Document,
        tags: Sequence[str],
        files: Mapping[str, Path],
    ) -> None:
        """Push blobs, then manifests, then tags: whoever pulls a tag finds all of it."""
        for image in images:
            own = {one.layer.digest for one in image.added}
            for layer in image.manifest.value()["layers"]:
                if self._lacks(layer):
                    if layer["digest"] in own:
                        self._upload(layer, files[layer["digest"]])
                    else:
                        self._take_over(layer)
            if self._lacks(image.config.descriptor()):
                self._upload(image.config.descriptor(), image.config)
            if image.manifest.digest != document.digest:
                self._manifest(image.manifest, image.manifest.digest)
        self._manifest(document, document.digest)
        for tag in tags:
            self._manifest(document, tag)

    def _lacks(self, descriptor: Json) -> bool:
        """Return whether a blob has to be brought; once only, as it is about to be."""
        digest = descriptor["digest"]
        if digest in self._there:
            return False
        self._there.add(digest)
        return not self.target.has_blob(digest, descriptor["size"])

    def _upload(self, descriptor: Json, content: Content) -> None:
        self.target.push_blob(content, descriptor["digest"], descriptor["size"])
        self.pushed.uploaded.append(descriptor["digest"])
        self.pushed.bytes += descriptor["size"]

    def _take_over(self, descriptor: Json) -> None:
        """Get a layer of the base: mounted where it is in the same registry, else copied."""
        digest = descriptor["digest"]
        mine, theirs = self.target.reference, self.base.reference
        if mine.registry == theirs.registry and self.target.mount_blob(digest, theirs.name):
            self.pushed.mounted.append(digest)
            return
        mebibytes = descriptor["size"] / 2**20
        self.progress(f"{mine.name}: copying a layer of {theirs} ({mebibytes:.1f} MiB)")
        with self.cache.temporary() as path:
            self.base.fetch_blob(digest, descriptor["size"], path)
            self.target.push_blob(path, digest, descriptor["size"])
        self.pushed.copied.append(digest)
        self.pushed.bytes += descriptor["size"]

    def _manifest(self, document: Document, target: str) -> None:
        self.target.push_manifest(document.content, document.media_type, target)
