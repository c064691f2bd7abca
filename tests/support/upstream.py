"""A registry in upstream's shape: an image behind every reference of a release."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from support.registries import Registry

from ansible_collections.streamops.knative.plugins.module_utils._oci.credentials import Credentials
from ansible_collections.streamops.knative.plugins.module_utils._oci.image import (
    CONFIG_TYPE,
    INDEX_TYPE,
    MANIFEST_TYPE,
)
from ansible_collections.streamops.knative.plugins.module_utils._oci.reference import Reference
from ansible_collections.streamops.knative.plugins.module_utils._oci.registry import (
    Connection,
    Repository,
)

Object = dict[str, Any]
#: The registries that Knative's releases name.
HOSTS = ("docker.io", "gcr.io")


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Upstream:
    """One registry that stands for all that references name; the path begins with the registry's name."""

    registry: Registry

    def mirrors(self, registry: Registry | None = None) -> dict[str, str]:
        """Return the option `registry_mirrors` that leads here, or to what stands in front of it."""
        return {host: f"{(registry or self.registry).host}/{host}" for host in HOSTS}

    def publish(
        self,
        reference: str,
        platforms: Sequence[str] = ("linux/amd64",),
        layers: Iterable[bytes] = (),
    ) -> str:
        """Make an image that a reference leads to, an index for several platforms; return its digest."""
        parsed = Reference.parse(f"{self.registry.host}/{reference}", "reference")
        closed = self.registry.docker_config.exists()
        credentials = Credentials(*self.registry.credentials) if closed else None
        repository = Repository(parsed, Connection(), credentials)
        contents = list(layers) or [f"the program of {reference}".encode() * 50]
        images = [self._image(repository, platform, contents) for platform in platforms]
        entry = images[0]
        if len(images) > 1:
            index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": images}
            entry = self._manifest(repository, index)
        if parsed.tag:
            content, _digest, kind = repository.manifest(entry["digest"]) or (b"", "", "")
            repository.push_manifest(content, kind, parsed.tag)
        return str(entry["digest"])

    def _image(self, repository: Repository, platform: str, layers: list[bytes]) -> Object:
        """Store one platform's image; return its entry in an index."""
        system, architecture = platform.split("/")
        contents = [*layers, platform.encode()]
        diff_ids = [digest_of(one) for one in contents]
        config = {
            **{"os": system, "architecture": architecture, "config": {}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        described = self._blob(repository, json.dumps(config).encode(), CONFIG_TYPE)
        kind = "application/vnd.oci.image.layer.v1.tar"
        manifest = {
            **{"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": described},
            "layers": [self._blob(repository, one, kind) for one in contents],
        }
        entry = self._manifest(repository, manifest)
        return entry | {"platform": {"os": system, "architecture": architecture}}

    def _blob(self, repository: Repository, content: bytes, kind: str) -> Object:
        path = self.registry.home / "blob"
        path.write_bytes(content)
        repository.push_blob(path, digest_of(content), len(content))
        return _descriptor(content, kind)

    def _manifest(self, repository: Repository, manifest: Object) -> Object:
        content = json.dumps(manifest).encode()
        repository.push_manifest(content, manifest["mediaType"], digest_of(content))
        return _descriptor(content, manifest["mediaType"])


def _descriptor(content: bytes, kind: str) -> Object:
    return {"mediaType": kind, "digest": digest_of(content), "size": len(content)}
