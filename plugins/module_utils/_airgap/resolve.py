"""Images as a registry has them: by digest, for chosen platforms, with everything they are made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._oci.image import INDEX_TYPE, Document
from .._oci.platform import Platform
from .._oci.reference import Reference
from .._oci.registry import INDEX_TYPES, MANIFEST_TYPES, Repository
from .errors import BundleError

Json = dict[str, Any]
_ATTESTATION = "unknown/unknown"


@dataclass
class Resolved:
    """An image: `top` is what a reference by digest names, and `documents` are all there are of it.

    `blobs` are the sizes, by digest, of what is not a document.
    """

    name: str
    repository: Repository
    source_digest: str
    top: Document
    platforms: list[str] = field(default_factory=list)
    documents: dict[str, Document] = field(default_factory=dict)
    blobs: dict[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        return sum(len(one.content) for one in self.documents.values()) + sum(self.blobs.values())


class Resolver:
    """Finds images in their registries, or in the `mirrors` of those (HOST or HOST/PATH by host)."""

    def __init__(
        self,
        open_repository: Callable[[Reference], Repository],
        mirrors: Mapping[str, str],
        platforms: Sequence[Platform],
    ) -> None:
        self._open = open_repository
        self._mirrors = mirrors
        self._platforms = platforms

    def resolve(self, name: str) -> Resolved:
        """Return an image by its reference; raises OciError, or BundleError where it is not for a platform."""
        reference = Reference.parse(name, "images")
        repository = self._open(self._mirrored(reference))
        document = _document(repository, reference.target)
        image = Resolved(name, repository, document.digest, document)
        if document.media_type in INDEX_TYPES:
            self._take_index(image, document)
        else:
            self._take_manifest(image, document)
            self._check_platform(image)
        image.documents[image.top.digest] = image.top
        return image

    def _mirrored(self, reference: Reference) -> Reference:
        mirror = self._mirrors.get(reference.registry)
        if mirror is None:
            return reference
        found = Reference.parse(f"{mirror}/{reference.name}", "registry_mirrors")
        return Reference(found.registry, found.name, reference.tag, reference.digest)

    def _take_index(self, image: Resolved, index: Document) -> None:
        """Take the manifests for the platforms; all of an index, with none chosen."""
        value = index.value()
        entries = {_platform(entry): entry for entry in reversed(value["manifests"])}
        entries.pop(_ATTESTATION, None)
        wanted = [str(platform) for platform in self._platforms]
        if lacking := [platform for platform in wanted if platform not in entries]:
            raise _not_for(image, lacking, entries)
        chosen = [entries[platform] for platform in wanted] or value["manifests"]
        for entry in chosen:
            self._take_manifest(image, _document(image.repository, entry["digest"]))
        image.platforms = wanted or sorted(entries)
        # A signature is of this one, whatever is taken of it.
        image.documents[index.digest] = index
        if len(wanted) == 1:
            image.top = image.documents[chosen[0]["digest"]]
        elif wanted and len(wanted) < len(entries):
            image.top = Document.of(
                INDEX_TYPE,
                {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": chosen},
            )

    def _take_manifest(self, image: Resolved, document: Document) -> None:
        if document.media_type not in MANIFEST_TYPES:
            raise BundleError(
                f"images: {image.name} has a manifest of type {document.media_type}, which is not an"
                " image's"
            )
        manifest = document.value()
        image.documents[document.digest] = document
        for blob in [manifest["config"], *manifest["layers"]]:
            if blob["size"] < 0:
                raise BundleError(f"images: {image.name}: the size of {blob['digest']} is negative")
            image.blobs[blob["digest"]] = blob["size"]

    def _check_platform(self, image: Resolved) -> None:
        """Refuse an image for one platform that is another one; what names none, as a chart, is for all."""
        config = image.top.value()["config"]
        try:
            value = json.loads(image.repository.read_blob(config["digest"]))
        except ValueError:
            value = {}
        if not isinstance(value, dict) or not value.get("os"):
            return
        own = _platform({"platform": value})
        wanted = [str(platform) for platform in self._platforms]
        if lacking := [platform for platform in wanted if platform != own]:
            raise _not_for(image, lacking, [own])
        image.platforms = [own]


def _platform(entry: Json) -> str:
    platform = entry.get("platform") or {}
    return f"{platform.get('os')}/{platform.get('architecture')}"


def _document(repository: Repository, target: str) -> Document:
    found = repository.manifest(target)
    if found is None:
        raise BundleError(
            f"images: {repository.reference} does not exist in {repository.reference.registry}"
        )
    return Document(found[2], found[0])


def _not_for(image: Resolved, lacking: Sequence[str], offered: Any) -> BundleError:
    return BundleError(
        f"images: {image.name} is not for {', '.join(lacking)}; it is for"
        f" {', '.join(sorted(offered))}: choose other platforms"
    )
