"""Artifacts that refer to an image, such as its signatures and its bill of materials.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#listing-referrers. A registry that
does not list them itself gets the list under a tag, which clients keep.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import RegistryError
from .image import INDEX_TYPE, MANIFEST_TYPE, Document
from .registry import Repository

Json = dict[str, Any]
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_EMPTY = b"{}"
#: What of a descriptor a subject has; https://github.com/opencontainers/image-spec/blob/v1.1.0/descriptor.md
_DESCRIPTOR = ("mediaType", "digest", "size")


@dataclass(frozen=True)
class Artifact:
    """A manifest that refers to a `subject`, and its blobs. `tag` names it besides its digest."""

    manifest: Document
    blobs: Sequence[Document]
    tag: str = ""

    @classmethod
    def of(
        cls,
        kind: str,
        subject: Json,
        layers: Sequence[Json],
        blobs: Sequence[Document],
        *,
        config_type: str = EMPTY_TYPE,
        annotations: Mapping[str, str] | None = None,
        tag: str = "",
    ) -> Artifact:
        """Return an artifact of a type; `blobs` are those of the layers that are to be sent."""
        empty = Document(config_type, _EMPTY)
        value: Json = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": kind,
            "config": empty.descriptor(),
            "layers": list(layers),
            "subject": {key: subject[key] for key in _DESCRIPTOR},
        }
        if annotations:
            value["annotations"] = dict(annotations)
        return cls(Document.of(MANIFEST_TYPE, value), [empty, *blobs], tag)

    def descriptor(self) -> Json:
        """Return its entry in a list of referrers."""
        value = self.manifest.value()
        more: Json = {key: value[key] for key in ("artifactType", "annotations") if key in value}
        return {**self.manifest.descriptor(), **more}


def list_referrers(repository: Repository, digest: str) -> list[Json]:
    """Return the descriptors of what refers to a manifest."""
    listed = repository.referrers(digest)
    return _tagged(repository, digest) if listed is None else listed


def attach(repository: Repository, artifact: Artifact) -> None:
    """Store an artifact; raise RegistryError where the registry does not take it."""
    manifest = artifact.manifest
    subject: str = manifest.value()["subject"]["digest"]
    try:
        for blob in artifact.blobs:
            if not repository.has_blob(blob.digest, len(blob.content)):
                repository.push_blob(blob, blob.digest, len(blob.content))
        target = artifact.tag or manifest.digest
        listed = repository.push_manifest(manifest.content, manifest.media_type, target)
        if listed != subject:
            _list(repository, subject, artifact.descriptor())
    except RegistryError as error:
        if error.status in (400, 415):
            raise RegistryError(
                f"{error}. The registry does not take artifacts of OCI 1.1: set sbom to false, leave"
                " signing_key out, or choose another registry",
                error.status,
            ) from error
        raise


def _list(repository: Repository, subject: str, entry: Json) -> None:
    """Add an artifact to the list that a tag names."""
    entries = _tagged(repository, subject)
    if all(one["digest"] != entry["digest"] for one in entries):
        value: Json = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [*entries, entry]}
        index = Document.of(INDEX_TYPE, value)
        repository.push_manifest(index.content, INDEX_TYPE, _tag(subject))


def _tagged(repository: Repository, digest: str) -> list[Json]:
    found = repository.manifest(_tag(digest))
    if found is None or found[2] != INDEX_TYPE:
        return []
    entries: list[Json] = json.loads(found[0])["manifests"]
    return entries


def _tag(digest: str) -> str:
    return digest.replace(":", "-", 1)
