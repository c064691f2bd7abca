"""An OCI registry: the distribution specification 1.1 over blobs and manifests kept on disk."""

from __future__ import annotations

from streamops_sandbox.registry.app import create_app

__all__ = ["create_app"]
