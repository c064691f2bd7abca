"""An image's configuration and manifest, put together from a base and layers.

https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md, manifest.md and image-index.md.
Keys are sorted and there is no white space, so the same image has the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .layer import Layer
from .platform import Platform

Json = dict[str, Any]
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
_OCI_TYPES = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "application/vnd.oci.image.layer.v1.tar+gzip"
}
CREATED_BY = "streamops.knative.oci_image"
REVISION = "org.opencontainers.image.revision"
_BASE_DIGEST = "org.opencontainers.image.base.digest"


@dataclass(frozen=True)
class Base:
    """A base image for one platform: digest of its manifest, its layers, its configuration."""

    digest: str
    layers: list[Json]
    config: Json

    def environment(self) -> dict[str, str]:
        """Return the variables it sets."""
        entries = (self.config.get("config") or {}).get("Env") or []
        return dict(entry.partition("=")[::2] for entry in entries)


@dataclass(frozen=True)
class Settings:
    """What the configuration says beside the base's. None leaves what the base has.

    `revision` is the commit that was found, which the annotations may name another one in place of.
    """

    env: Mapping[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] | None = None
    command: Sequence[str] | None = None
    user: str | None = None
    workdir: str | None = None
    ports: Sequence[str] = ()
    stop_signal: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    revision: str = ""
    epoch: int = 0

    def annotated(self, base: str) -> dict[str, str]:
        """Return the annotations of what is built on a base of this digest."""
        found = {REVISION: self.revision} if self.revision else {}
        return {_BASE_DIGEST: base, **found, **self.annotations}


@dataclass(frozen=True)
class Added:
    """A layer on top of the base; `note` says what is in it."""

    name: str
    layer: Layer
    note: str


@dataclass(frozen=True)
class Document:
    """A JSON document with the bytes it has in a registry."""

    media_type: str
    content: bytes

    @classmethod
    def of(cls, media_type: str, value: Json) -> Document:
        """Serialize a value."""
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return cls(media_type, text.encode())

    @property
    def digest(self) -> str:
        """Its digest."""
        return f"sha256:{hashlib.sha256(self.content).hexdigest()}"

    def open(self, _mode: str = "rb") -> io.BytesIO:
        """Return a reader of its bytes, as a path does."""
        return io.BytesIO(self.content)

    def descriptor(self) -> Json:
        """Its entry in another document."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.content)}

    def value(self) -> Json:
        """Return what it says."""
        value: Json = json.loads(self.content)
        return value


@dataclass(frozen=True)
class Image:
    """An image for one platform."""

    platform: Platform
    base: Base
    added: Sequence[Added]
    config: Document
    manifest: Document


def assemble(platform: Platform, base: Base, added: Sequence[Added], settings: Settings) -> Image:
    """Put base, layers and settings together."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(settings.epoch))
    base_diff_ids = base.config["rootfs"]["diff_ids"]
    history = base.config.get("history") or [
        {"created_by": f"base image {base.digest}"} for _dummy in base_diff_ids
    ]
    config = Document.of(
        CONFIG_TYPE,
        {
            **{key: base.config[key] for key in ("os.version", "variant") if key in base.config},
            "architecture": platform.architecture,
            "os": platform.os,
            "created": created,
            "config": _container_config(base, settings),
            "rootfs": {
                "type": "layers",
                "diff_ids": [*base_diff_ids, *(one.layer.diff_id for one in added)],
            },
            "history": [*history, *(_history(one, created) for one in added)],
        },
    )
    annotations = {
        "org.opencontainers.image.created": created,
        **settings.annotated(base.digest),
    }
    # OCI manifests hold OCI layers; Docker's gzip layers are the same under another name.
    types = [_OCI_TYPES.get(layer["mediaType"], layer["mediaType"]) for layer in base.layers]
    layers = [{**layer, "mediaType": t} for layer, t in zip(base.layers, types, strict=True)]
    manifest = Document.of(
        MANIFEST_TYPE,
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config.descriptor(),
            "layers": [*layers, *(one.layer.descriptor() for one in added)],
            "annotations": annotations,
        },
    )
    return Image(platform, base, added, config, manifest)


def index(images: Sequence[Image], settings: Settings, base: str) -> Document:
    """Return the index of an image for several platforms; `base` is the digest of the base's index."""
    entries = [
        {
            **image.manifest.descriptor(),
            "platform": {"os": image.platform.os, "architecture": image.platform.architecture},
        }
        for image in images
    ]
    value: Json = {
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": entries,
        "annotations": settings.annotated(base),
    }
    return Document.of(INDEX_TYPE, value)


def same_content(mine: Json, other: Json, *, any_revision: bool = False) -> bool:
    """Return whether two manifests are of one image, however their layers were compressed.

    The configuration's digest covers the diff IDs, so layers need not be compared. With `any_revision` the
    commits that they name may differ: each has these files.
    """
    return _compared(mine, any_revision) == _compared(other, any_revision)


def _compared(manifest: Json, any_revision: bool) -> Json:
    found = {key: value for key, value in manifest.items() if key != "layers"}
    if any_revision:
        notes = manifest.get("annotations") or {}
        found["annotations"] = {key: text for key, text in notes.items() if key != REVISION}
    return found


def _container_config(base: Base, settings: Settings) -> Json:
    inherited = dict(base.config.get("config") or {})
    ports: Json = {port if "/" in port else f"{port}/tcp": {} for port in settings.ports}
    given = {
        "Env": [f"{key}={value}" for key, value in {**base.environment(), **settings.env}.items()],
        "Entrypoint": _list(settings.entrypoint),
        # The base's command was meant for the base's entrypoint.
        "Cmd": _list(settings.command) if settings.entrypoint is None else settings.command,
        "User": settings.user,
        "WorkingDir": settings.workdir,
        "ExposedPorts": {**(inherited.get("ExposedPorts") or {}), **ports} or None,
        "StopSignal": settings.stop_signal,
        "Labels": {**(inherited.get("Labels") or {}), **settings.labels} or None,
    }
    if settings.entrypoint is not None:
        inherited.pop("Cmd", None)
    result = inherited | {key: value for key, value in given.items() if value is not None}
    return {key: value for key, value in result.items() if value is not None}


def _list(value: Sequence[str] | None) -> list[str] | None:
    return None if value is None else list(value)


def _history(one: Added, created: str) -> Json:
    return {"created": created, "created_by": f"{CREATED_BY}: {one.name}", "comment": one.note}
