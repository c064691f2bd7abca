"""Images on the node's disk: blobs, and unpacked layers shared by all images that begin alike.

    blobs/sha256/HEX        manifests, configurations and layers as they came
    snapshots/HEX           a root file system up to one layer, by its chain ID
    references/NAME         what a reference was last resolved to

Everything gets its name by a rename once it is complete, so several nodes may share a store, or
its snapshots alone: those are known by their content, references only within one registry.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from streamops_sandbox.node.images.image import Reference
from streamops_sandbox.node.images.unpack import LayerError, apply_layer


class Store:
    """The folder that images are kept in; `shared`, another one for the snapshots."""

    def __init__(self, root: Path, shared: Path | None = None) -> None:
        self.root = root.absolute()
        self.unpacked = (shared or root).absolute()
        for part in ("blobs/sha256", "references", "temporary"):
            (self.root / part).mkdir(parents=True, exist_ok=True)
        for part in ("snapshots", "temporary"):
            (self.unpacked / part).mkdir(parents=True, exist_ok=True)

    def blob(self, digest: str) -> Path:
        """Return where a blob is, or would be."""
        return self.root / "blobs" / digest.replace(":", "/")

    def read_json(self, digest: str) -> dict[str, Any]:
        """Return a stored manifest or configuration."""
        content: dict[str, Any] = json.loads(self.blob(digest).read_bytes())
        return content

    @contextlib.contextmanager
    def temporary(self, root: Path | None = None) -> Iterator[Path]:
        """Give a path for something that is moved to its name in `root` when it is complete."""
        folder = Path(tempfile.mkdtemp(dir=(root or self.root) / "temporary"))
        try:
            yield folder / "new"
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def put(self, digest: str, content: bytes) -> None:
        """Store a blob that is at hand."""
        with self.temporary() as path:
            path.write_bytes(content)
            os.replace(path, self.blob(digest))

    def resolved(self, reference: Reference) -> dict[str, str] | None:
        """Return the `digest` and the platform's `manifest` a reference stood for, if known."""
        try:
            content: dict[str, str] = json.loads(self._reference(reference).read_bytes())
        except FileNotFoundError:
            return None
        return content

    def remember(self, reference: Reference, digest: str, manifest: str) -> None:
        """Note what a reference stands for."""
        with self.temporary() as path:
            path.write_text(json.dumps({"digest": digest, "manifest": manifest}))
            os.replace(path, self._reference(reference))

    def unpack(self, layers: list[dict[str, Any]], diff_ids: list[str]) -> Path:
        """Return the root file system of these layers; unpacks those that no image had yet."""
        if len(layers) != len(diff_ids):
            raise LayerError(f"{len(layers)} layers, but {len(diff_ids)} diff IDs")
        chain, parent = "", None
        for layer, diff_id in zip(layers, diff_ids, strict=True):
            joined = f"{chain} {diff_id}" if chain else diff_id
            chain = f"sha256:{hashlib.sha256(joined.encode()).hexdigest()}" if chain else diff_id
            parent = self._snapshot(chain, parent, layer, diff_id)
        if parent is None:
            raise LayerError("the image has no layers")
        return parent

    def _snapshot(
        self, chain: str, parent: Path | None, layer: dict[str, Any], diff_id: str
    ) -> Path:
        target = self.unpacked / "snapshots" / chain.partition(":")[2]
        if target.is_dir():
            return target
        with self.temporary(self.unpacked) as path:
            if parent is None:
                path.mkdir()
            else:  # files are shared with the parent; a layer replaces them, never writes to them
                shutil.copytree(parent, path, symlinks=True, copy_function=os.link)
            path.chmod(0o755)  # containers run as other users
            actual = apply_layer(self.blob(layer["digest"]), layer["mediaType"], path)
            if actual != diff_id:
                raise LayerError(f"layer {layer['digest']} unpacks to {actual}, not {diff_id}")
            with contextlib.suppress(FileExistsError, OSError):  # another node was faster
                os.rename(path, target)
        return target

    def _reference(self, reference: Reference) -> Path:
        return self.root / "references" / quote(str(reference), safe="")
