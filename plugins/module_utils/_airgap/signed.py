"""The signatures in a bundle: collected with its images, and verified without the internet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from .._oci.reference import Reference
from .._oci.registry import INDEX_TYPES
from .._oci.signatures import Signature, SignatureError
from .._oci.trust_root import TrustRoot, is_available
from .._oci.verification import Verification, incomplete, refused_together
from .archive import Archive, blob_name
from .contents import INDEX, Contents, Image, users
from .errors import BundleError
from .resolve import Resolved

Json = dict[str, Any]
SIGNATURES = "signatures.json"
TRUST_ROOT = "trusted_root.json"
_AGAIN = "make the bundle again, with verify set to true"


def collect(
    verification: Verification,
    images: Sequence[Resolved],
    required: Iterable[str],
    earlier: Sequence[Archive],
) -> dict[str, bytes]:
    """Return the members with the images' signatures and the trust root; raise SignatureError for refused images.

    An image in `required` is refused without a signature. Signatures of `earlier` bundles are kept, since the log
    proves the same entry differently each time.
    """
    needed = set(required)
    kept: dict[str, list[Signature]] = {}
    for archive in earlier:
        kept |= _stored(archive)
    found: dict[str, list[Json]] = {}

    def one(image: Resolved) -> str | None:
        signer = verification.signer(image.name, required=image.name in needed)
        if signer is None:
            return None
        digest = image.source_digest
        try:
            signature = verification.check(signer, digest, kept.get(digest, []))
        except SignatureError:
            signature = verification.find(signer, image.repository, digest)
        found[digest] = [signature.as_dict()]
        return image.name

    refused_together(one, images, "name")
    document = json.dumps(dict(sorted(found.items())), sort_keys=True, indent=1)
    keyless = any(one["bundle"] for entries in found.values() for one in entries)
    root = {TRUST_ROOT: verification.trust_root().content} if keyless else {}
    return {SIGNATURES: f"{document}\n".encode(), **root}


def has_signatures(archive: Archive) -> bool:
    """Return whether a bundle was made with its images' signatures."""
    return archive.find(SIGNATURES) is not None


def incomplete_signers(entries: Iterable[Json], option: str) -> list[str]:
    """Return what entries that say who signs images lack, a sentence each."""
    return [
        problem
        for number, entry in enumerate(entries)
        if entry.get("images") and (problem := incomplete(entry, f"{option}[{number}]"))
    ]


def unverifiable(archive: Archive | None, *, with_keys: bool) -> str:
    """Return why signatures, of a bundle or in registries, cannot be verified here; empty where they can."""
    if not with_keys and not is_available():
        return "needs the Python package sigstore: pip install sigstore, or set it to false"
    if archive and not has_signatures(archive):
        return f"{archive.path} has no signatures: {_AGAIN}, or set it to false"
    return ""


def verify(verification: Verification, archive: Archive, contents: Contents) -> list[str]:
    """Check the images of a bundle, but for those verified before; return them, by their names in it.

    Raises SignatureError with all that are refused, BundleError where the signatures are damaged.
    """
    if not has_signatures(archive):
        raise BundleError(
            f"verify: {archive.path} has no signatures: {_AGAIN}, or set verify to false"
        )
    checksums = archive.checksums()
    for name in (SIGNATURES, TRUST_ROOT):
        if archive.find(name) and (problem := archive.problem(name, checksums.get(name, ""))):
            raise BundleError(f"path: {archive.path}: {problem}: copy or make the bundle again")
    if verification.root is None and archive.find(TRUST_ROOT):
        verification.root = TrustRoot(archive.document(TRUST_ROOT))
    stored = _stored(archive)
    entries = {entry["digest"]: entry for entry in json.loads(archive.document(INDEX))["manifests"]}
    # Not by the list, which nobody has signed: an image that it says nothing uses would be taken as it is.
    required = users({name: archive.document(name) for name in contents.files})

    def one(image: Image) -> str | None:
        signer = verification.signer(image.reference, required=image.reference in required)
        if signer is None:
            return None
        _check_named(image)
        _check_part(archive, image, entries)
        if verification.is_known(signer, image.source_digest):
            return None
        if signer.identity and verification.root is None:
            raise SignatureError(
                f"the bundle has no trust root: {_AGAIN}, or name one in trust_root"
            )
        verification.check(signer, image.source_digest, stored.get(image.source_digest, []))
        verification.note(signer, image.source_digest, image.reference)
        return image.reference

    return refused_together(one, contents.images)


def _check_named(image: Image) -> None:
    """Raise SignatureError for an image in place of the one that is named by its digest."""
    named = Reference.parse(image.reference, "path").digest
    if named not in (None, image.source_digest):
        raise SignatureError(f"the bundle has {image.source_digest} in its place")


def _check_part(archive: Archive, image: Image, entries: dict[str, Json]) -> None:
    """Raise SignatureError for an image that is not a part of the one that was signed."""
    if image.digest == image.source_digest:
        return
    signed = {one["digest"] for one in _manifests(archive, image.source_digest)}
    entry = entries.get(image.digest, {})
    parts = {image.digest}
    if entry.get("mediaType") in INDEX_TYPES:
        parts = {one["digest"] for one in _manifests(archive, image.digest)}
    if not parts <= signed:
        raise SignatureError(f"is not a part of {image.source_digest}, which is signed")


def _manifests(archive: Archive, digest: str) -> list[Json]:
    name = blob_name(digest)
    if problem := archive.problem(name, digest):
        raise SignatureError(f"{problem}: copy or make the bundle again")
    try:
        index = json.loads(archive.document(name))
        if index.keys() & {"config", "layers"}:  # a reader may take it for a manifest of its own
            raise SignatureError(f"{name} is an index and a manifest at once")
        manifests: list[Json] = index["manifests"]
        return [one for one in manifests if one["digest"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SignatureError(f"{name} is not an index") from error


def _stored(archive: Archive) -> dict[str, list[Signature]]:
    """Return the signatures of a bundle by the digests of images; nothing where the list is missing or damaged."""
    try:
        value = json.loads(archive.document(SIGNATURES)) if archive.find(SIGNATURES) else {}
        return {
            str(digest): [Signature.from_dict(one) for one in entries]
            for digest, entries in value.items()
        }
    except (BundleError, ValueError, KeyError, TypeError, AttributeError):
        return {}
