"""An image that is in the node's store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamops_sandbox.node.images.reference import Reference


@dataclass(frozen=True)
class Image:
    """An unpacked image.

    `digest` is what the reference resolved to (an index's digest, where it is one). `config` is
    the inner part of the OCI image configuration: Entrypoint, Cmd, Env, WorkingDir, User, ….
    `rootfs` is shared by all containers of the image and must not be written to.
    """

    reference: Reference
    digest: str
    config: dict[str, Any]
    rootfs: Path

    @property
    def image_id(self) -> str:
        """Return `REPOSITORY@DIGEST`, what a pod's status calls imageID."""
        return f"{self.reference.repository}@{self.digest}"

    @property
    def user(self) -> str:
        """Return the configured user, `""` for root."""
        return str(self.config.get("User") or "")
