"""The base image: found by reference, for each platform, from the cache where it is known by digest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .cache import Cache
from .errors import OptionError, RegistryError
from .image import Base
from .platform import Platform
from .registry import INDEX_TYPES, MANIFEST_TYPES, Repository

_DEFAULT_PLATFORM = "linux/amd64"


def find_base(
    repository: Repository, cache: Cache, platforms: Sequence[Platform]
) -> tuple[str, dict[Platform, Base]]:
    """Return the base's digest, and the base for each platform.

    Without `platforms`: for the one the base is for; for linux/amd64 where it is for several.
    """
    reference = repository.reference
    digest = reference.digest or repository.resolve(reference.target)
    if digest is None:
        raise _missing(repository)
    document, media_type = _document(repository, cache, digest)
    if media_type in INDEX_TYPES:
        offered = _offered(document)
        chosen = list(platforms) or [Platform.parse(_DEFAULT_PLATFORM)]
        lacking = [str(platform) for platform in chosen if str(platform) not in offered]
        if lacking:
            raise OptionError(
                f"base: {reference} is not for {', '.join(lacking)}; it is for"
                f" {', '.join(sorted(offered))}"
            )
        return digest, {one: _base(repository, cache, offered[str(one)]) for one in chosen}
    base = _base(repository, cache, digest)
    own = f"{base.config.get('os')}/{base.config.get('architecture')}"
    lacking = [str(platform) for platform in platforms if str(platform) != own]
    if lacking:
        raise OptionError(f"base: {reference} is not for {', '.join(lacking)}; it is for {own}")
    return digest, {Platform.parse(own): base}


def _offered(index: dict[str, Any]) -> dict[str, str]:
    """Return digests by platform; the first of several variants."""
    found: dict[str, str] = {}
    for entry in index.get("manifests", []):
        platform = entry.get("platform") or {}
        found.setdefault(f"{platform.get('os')}/{platform.get('architecture')}", entry["digest"])
    found.pop("unknown/unknown", None)  # attestations
    return found


def _base(repository: Repository, cache: Cache, digest: str) -> Base:
    manifest, media_type = _document(repository, cache, digest)
    if media_type not in MANIFEST_TYPES:
        raise OptionError(f"base: {repository.reference} is of type {media_type}, not an image")
    config_digest = manifest["config"]["digest"]
    config = cache.get("config", config_digest)
    if config is None:
        config = _config(repository, config_digest, len(manifest["layers"]))
        cache.put("config", config_digest, config)
    return Base(digest, manifest["layers"], config)


def _config(repository: Repository, digest: str, layers: int) -> dict[str, Any]:
    """Return the configuration of an image; raise RegistryError where it does not describe its layers."""
    try:
        config: dict[str, Any] = json.loads(repository.read_blob(digest))
        is_complete = len(config["rootfs"]["diff_ids"]) == layers
    except (KeyError, TypeError, ValueError):
        is_complete = False
    if not is_complete:
        raise RegistryError(
            f"base: {repository.reference}: its configuration {digest} is incomplete"
        )
    return config


def _document(repository: Repository, cache: Cache, digest: str) -> tuple[dict[str, Any], str]:
    known = cache.get("manifest", digest)
    if known is None:
        found = repository.manifest(digest)
        if found is None:
            raise _missing(repository)
        known = {"document": json.loads(found[0]), "media_type": found[2]}
        cache.put("manifest", digest, known)
    return known["document"], known["media_type"]


def _missing(repository: Repository) -> RegistryError:
    return RegistryError(
        f"base: {repository.reference} does not exist in {repository.reference.registry}", 404
    )
