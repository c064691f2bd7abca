"""From an image reference to something that can be started.

An image is a program of this sandbox (for upstream Knative's images), a folder given with
`--image NAME=FOLDER`, or is pulled from its registry.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.node.context import Program

Object = dict[str, Any]


class ImageError(Exception):
    """The image cannot be had; `reason` is the waiting reason the kubelet shows."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Image:
    """An image that is here.

    `image_id` is what the status shows; `program` is set for programs of this sandbox, else
    `root` is the unpacked file system (read-only, shared) and `config` the `config` part of the
    OCI image configuration.
    """

    reference: str
    image_id: str
    program: Program | None = None
    root: Path | None = None
    config: Object = field(default_factory=dict)


@dataclass
class Pulled:
    """An image and how it came here: `seconds` is None where it was here already."""

    image: Image
    seconds: float | None


class ImageSource:
    """The node's images; `folders` maps image names without tag to folders with an app."""

    def __init__(self, store: Path, folders: Mapping[str, Path]) -> None:
        self._store = store
        self._folders = folders
        self._present: dict[str, Image] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, reference: str, policy: str) -> Pulled:
        """Return an image, pulling it where the pull policy says so. Raises ImageError."""
        async with self._locks.setdefault(reference, asyncio.Lock()):
            known = self._present.get(reference)
            if known is not None and policy != "Always":
                return Pulled(known, None)
            if policy == "Never":
                raise ImageError(
                    "ErrImageNeverPull",
                    f'Container image "{reference}" is not present with pull policy of Never',
                )
            begun = time.monotonic()
            image = self._present[reference] = await self._find(reference)
            return Pulled(image, time.monotonic() - begun)

    async def _find(self, reference: str) -> Image:
        program = _program(reference)
        if program is not None:
            return Image(reference, f"sandbox://{reference}", program=program)
        folder = self._folders.get(_name(reference))
        if folder is not None:
            return _folder_image(reference, folder)
        raise ImageError(
            "ErrImagePull",
            f'failed to pull image "{reference}": no registry can be reached from this node',
        )


def clone(image: Path, root: Path) -> None:
    """Make `root` a writable copy of an unpacked image, sharing the files' content where it can."""
    shutil.copytree(image, root, symlinks=True, copy_function=_link_or_copy, dirs_exist_ok=True)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _program(reference: str) -> Program | None:
    try:
        from sandbox.knative import programs  # noqa: PLC0415 - loaded with the first pod
    except ImportError:
        return None
    program: Program | None = programs.find(reference)
    return program


def _name(reference: str) -> str:
    name = reference.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    return head + slash + tail.partition(":")[0]


def _folder_image(reference: str, folder: Path) -> Image:
    module = folder.name.replace("-", "_")
    config = {
        "Entrypoint": [sys.executable, "-m", module],
        "Env": [f"PYTHONPATH={folder}", "PYTHONUNBUFFERED=1"],
    }
    return Image(reference, f"sandbox://{reference}", root=None, config=config)
