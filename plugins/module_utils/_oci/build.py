"""Builds an image's layers: the application's, and the dependencies' where no earlier run did."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .app import read_app, read_copy
from .cache import Cache
from .errors import OptionError
from .image import Added, Base, Image, Settings, assemble
from .layer import Entry, Layer, write_layer
from .platform import Platform
from .requirements import Line, read_requirements
from .wheels import Target, fetch_wheels, wheel_entries

#: Raised when the same input gives other bytes, or another entry of the cache, than before.
_FORMAT = 2


@dataclass(frozen=True)
class Recipe:
    """What to build: folders and files of the controller, places in the image.

    `copies` are further files and folders with their absolute paths in the image.
    """

    folder: Path
    copies: Sequence[tuple[Path, str]]
    requirements: Sequence[Path]
    constraints: Sequence[Path]
    app_path: str
    dependencies_path: str
    python_version: str | None
    wheel_platforms: Sequence[str]
    allow_secrets: Sequence[str]
    compression: str
    pip_timeout: float


class Builder:
    """Builds one recipe, for as many platforms as are asked for.

    `files` maps the digests of layers that were built to where they are, `packages` has what the dependencies'
    layers hold; `warnings` is for people.
    """

    def __init__(self, recipe: Recipe, cache: Cache, progress: Callable[[str], None]) -> None:
        self.recipe = recipe
        self.cache = cache
        self.progress = progress
        self.files: dict[str, Path] = {}
        self.packages: dict[Platform, list[dict[str, str]]] = {}
        self.warnings: list[str] = []
        self._app: Added | None = None

    def build(self, platform: Platform, base: Base, settings: Settings) -> Image:
        """Return the image for one platform; the application's layer is the same for all."""
        added = [self._app_layer()]
        paths = [self.recipe.app_path]
        if self.recipe.requirements:
            added.insert(0, self._dependencies(platform, base))
            paths.append(self.recipe.dependencies_path)
        env = {"PYTHONPATH": ":".join(paths), "PYTHONUNBUFFERED": "1"}
        if self.recipe.requirements:
            path = base.environment().get("PATH", "/usr/local/bin:/usr/bin:/bin")
            env["PATH"] = f"{self.recipe.dependencies_path}/bin:{path}"
        complete = replace(
            settings,
            env={**env, **settings.env},
            workdir=settings.workdir or self.recipe.app_path,
        )
        return assemble(platform, base, added, complete)

    def _app_layer(self) -> Added:
        if self._app is None:
            recipe = self.recipe
            entries = read_app(recipe.folder, recipe.app_path, recipe.allow_secrets)
            note = f"{len(entries)} files in {recipe.app_path}"
            for number, (source, target) in enumerate(recipe.copies):
                option = f"copy[{number}].src"
                entries += read_copy(source, target, recipe.allow_secrets, option)
            self._app = Added("application", self._written(entries), note)
        return self._app

    def _written(self, entries: Sequence[Entry]) -> Layer:
        """Return the layer of these files, which an earlier run may have written."""
        key = _digest(entries, self.recipe.compression)
        known = self.cache.get("files", key)
        if known is None or not self.cache.path("blob", known["digest"]).exists():
            known = self._write(entries).as_dict()
            self.cache.put("files", key, known)
        layer = Layer(**known)
        self.files[layer.digest] = self.cache.path("blob", layer.digest)
        os.utime(self.files[layer.digest])
        return layer

    def _dependencies(self, platform: Platform, base: Base) -> Added:
        recipe = self.recipe
        python = self._python_version(base)
        markers = platform.markers(python)
        target = Target(python, tuple(recipe.wheel_platforms or platform.wheel_tags()), markers)
        lines = read_requirements(recipe.requirements, "requirements", markers)
        constraints = read_requirements(recipe.constraints, "constraints", markers)
        key = self._key(lines, constraints, target)
        with self.cache.lock(key):
            known = self.cache.get("layer", key)
            path = self.cache.path("blob", known["layer"]["digest"]) if known else None
            if known is None or path is None or not path.exists():
                known = self._install(lines, constraints, target)
                self.cache.put("layer", key, known)
        layer = Layer(**known["layer"])
        self.files[layer.digest] = self.cache.path("blob", layer.digest)
        self.packages[platform] = known["packages"]
        os.utime(self.files[layer.digest])
        if known["loose"]:
            self.warnings.append(
                f"requirements: {', '.join(known['loose'])}: no version is pinned with '==' here or"
                " in constraints, so another machine or another day may give another image"
            )
        return Added("dependencies", layer, " ".join(known["pins"]))

    def _install(
        self, lines: Sequence[Line], constraints: Sequence[Line], target: Target
    ) -> dict[str, Any]:
        self.progress(f"{self.recipe.folder.name}: downloading its dependencies for {target}")
        with tempfile.TemporaryDirectory() as folder:
            timeout = self.recipe.pip_timeout
            wheels = fetch_wheels(lines, constraints, target, Path(folder), timeout)
            layer = self._write(wheel_entries(wheels, self.recipe.dependencies_path))
            pinned = {line.name for line in [*lines, *constraints] if line.pinned}
            return {
                "layer": layer.as_dict(),
                "packages": [wheel.package() for wheel in wheels],
                "pins": [wheel.pin for wheel in wheels],
                "loose": [wheel.name for wheel in wheels if wheel.name not in pinned],
            }

    def _write(self, entries: Iterable[Entry]) -> Layer:
        """Write a layer into the cache."""
        with self.cache.temporary() as temporary:
            layer = write_layer(entries, temporary, self.recipe.compression)
            path = self.cache.path("blob", layer.digest)
            temporary.replace(path)
        self.files[layer.digest] = path
        return layer

    def _python_version(self, base: Base) -> str:
        version = self.recipe.python_version or base.environment().get("PYTHON_VERSION", "")
        if not re.fullmatch(r"\d+\.\d+(\.\d+\w*)?", version):
            raise OptionError(
                "python_version is required: the base image does not say which Python it has"
                " (PYTHON_VERSION in its environment, as in Docker's official python images)"
            )
        return version if version.count(".") > 1 else f"{version}.0"

    def _key(self, lines: Sequence[Line], constraints: Sequence[Line], target: Target) -> str:
        """Return what the dependencies' layer depends on."""
        parts = {
            "format": _FORMAT,
            "requirements": [line.text() for line in lines],
            "constraints": [line.text() for line in constraints],
            "path": self.recipe.dependencies_path,
            "compression": self.recipe.compression,
            "markers": target.markers,
            "tags": target.tags,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _digest(entries: Sequence[Entry], compression: str) -> str:
    """Return a digest of all that a layer of files depends on."""
    digest = hashlib.sha256(f"{_FORMAT} {compression}".encode())
    for entry in entries:
        content = hashlib.sha256(entry.content).hexdigest()
        digest.update(repr((entry.path, content, entry.executable, entry.link)).encode())
    return digest.hexdigest()
