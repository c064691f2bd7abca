"""Images that are run as upstream built them: static executables instead of the sandbox's programs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamops_sandbox.knative import programs
from streamops_sandbox.node.image_source import ImageSource, Policy, Runnable

_TAG_OR_DIGEST = re.compile(r"(:[\w.-]+)?(@[\w:]+)?$")


@dataclass(frozen=True)
class Executable(Runnable):
    """An image for which there is an executable file."""

    file: Path = Path()


class Executables(ImageSource):
    """The node's images, below `store`.

    `folder` holds static executables at the paths of the images they are run for, without registry
    and tag; they go before the sandbox's own programs.
    """

    def __init__(self, store: Path, folder: Path) -> None:
        super().__init__(store)
        self._folder = folder

    async def get(
        self, reference: str, policy: Policy, pull_secrets: Sequence[Mapping[str, Any]]
    ) -> Runnable:
        """See ImageSource."""
        if file := self._find(reference):
            return Executable(f"sandbox://{reference}", file=file)
        return await super().get(reference, policy, pull_secrets)

    def is_program(self, reference: str) -> bool:
        """Whether an image is run as a program of this process."""
        return self._find(reference) is None and programs.find(reference) is not None

    def _find(self, reference: str) -> Path | None:
        parts = _TAG_OR_DIGEST.sub("", reference).split("/")
        for begin in range(len(parts)):
            file = self._folder.joinpath(*parts[begin:])
            if file.is_file() and ".." not in parts:
                return file
        return None
