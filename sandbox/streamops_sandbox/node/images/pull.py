"""Pulls images: resolve, choose the platform, fetch what is missing, unpack."""

from __future__ import annotations

import asyncio
import json
import platform as host
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from weakref import WeakValueDictionary

from streamops_sandbox.node.images.image import Image, ImageError, Reference
from streamops_sandbox.node.images.registry import RegistryClient, find_credentials
from streamops_sandbox.node.images.store import Store
from streamops_sandbox.node.images.unpack import LayerError
from streamops_sandbox.oci import INDEXES, MANIFESTS, architecture

_PARALLEL_BLOBS = 3  # as containerd

_locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


async def pull(
    reference: str,
    *,
    store: Path,
    shared: Path | None = None,
    policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent",
    pull_secrets: Sequence[Mapping[str, Any]] = (),
    platform: tuple[str, str] | None = None,
) -> Image:
    """Return an image, unpacked in `store` or `shared`, pulled from its registry if need be.

    `policy` is the container's imagePullPolicy, `pull_secrets` docker configurations
    (`{"auths": …}`), `platform` an (os, architecture) other than this machine's. Concurrent calls
    for one image share the work. Raises ImageError as the kubelet would report it.
    """
    parsed = Reference.parse(reference)
    wanted = platform or (host.system().lower(), architecture())
    files = Store(store, shared)
    lock = _locks.setdefault(f"{files.root} {parsed}", asyncio.Lock())
    async with lock:
        known = files.resolved(parsed)
        if known and (policy != "Always" or parsed.digest):
            return await _unpacked(files, parsed, known["digest"], known["manifest"])
        if policy == "Never":
            message = f'Container image "{reference}" is not present with pull policy of Never'
            raise ImageError("ErrImageNeverPull", message)
        credentials = find_credentials(parsed, pull_secrets)
        async with RegistryClient(parsed, credentials) as registry:
            digest, manifest = await _fetch(files, registry, wanted)
        image = await _unpacked(files, parsed, digest, manifest)
        files.remember(parsed, digest, manifest)
        return image


async def _fetch(
    files: Store, registry: RegistryClient, wanted: tuple[str, str]
) -> tuple[str, str]:
    """Fetch what is missing of an image; returns its digest and its platform's manifest's."""
    reference = registry.reference
    content, digest, media_type = await registry.manifest(reference.digest or str(reference.tag))
    manifest_digest = digest
    try:
        if media_type in INDEXES:
            manifest_digest = _choose(reference, json.loads(content), wanted)
            content, _, media_type = await registry.manifest(manifest_digest)
        manifest = json.loads(content)
        blobs = {blob["digest"]: blob for blob in [manifest["config"], *manifest["layers"]]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise reference.failure(f"not a manifest of {media_type}: {error!r}") from None
    if media_type not in MANIFESTS:
        raise reference.failure(f"unsupported media type {media_type}")
    limit = asyncio.Semaphore(_PARALLEL_BLOBS)

    async def fetch(blob: dict[str, Any]) -> None:
        path = files.blob(blob["digest"])
        async with limit:
            if not path.exists():
                with files.temporary() as temporary:
                    await registry.blob(blob, temporary)
                    temporary.replace(path)

    try:
        async with asyncio.TaskGroup() as group:
            for blob in blobs.values():
                group.create_task(fetch(blob))
    except ExceptionGroup as failures:  # the first failure cancelled the others
        raise failures.exceptions[0] from None
    files.put(manifest_digest, content)
    return digest, manifest_digest


async def _unpacked(files: Store, reference: Reference, digest: str, manifest_digest: str) -> Image:
    manifest = files.read_json(manifest_digest)
    config = files.read_json(manifest["config"]["digest"])
    try:
        diff_ids = config["rootfs"]["diff_ids"]
        rootfs = await asyncio.to_thread(files.unpack, manifest["layers"], diff_ids)
    except (LayerError, KeyError, TypeError) as error:
        raise reference.failure(f"failed to extract layers: {error}") from error
    return Image(reference, digest, config.get("config") or {}, rootfs)


def _choose(reference: Reference, index: dict[str, Any], wanted: tuple[str, str]) -> str:
    """Return the digest of an index's manifest for a platform."""
    for entry in index.get("manifests", []):
        offered = entry.get("platform", {})
        if (offered.get("os"), offered.get("architecture")) == wanted:
            return str(entry["digest"])
    raise reference.failure(f"no match for platform {'/'.join(wanted)} in manifest: not found")
