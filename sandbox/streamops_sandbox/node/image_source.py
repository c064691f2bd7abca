"""From an image reference to something that can be started.

Upstream Knative's images are stood in for by programs of this sandbox; any other image is pulled
from its registry and unpacked.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from streamops_sandbox.node.context import Program
    from streamops_sandbox.node.images import Image

Policy = Literal["IfNotPresent", "Always", "Never"]


@dataclass(frozen=True)
class Runnable:
    """An image that is here: a program of this sandbox, or files with a configuration.

    `image_id` is what the status shows, `seconds` how long it took to pull, None where nothing
    was pulled.
    """

    image_id: str
    program: Program | None = None
    image: Image | None = None
    seconds: float | None = None


class ImageSource:
    """The node's images, below `store`; layers are unpacked in `shared` where it is given."""

    def __init__(self, store: Path, shared: Path | None = None) -> None:
        self._store = store
        self._shared = shared
        self._present: set[str] = set()

    async def get(
        self, reference: str, policy: Policy, pull_secrets: Sequence[Mapping[str, Any]]
    ) -> Runnable:
        """Return an image, pulling it where the pull policy says so.

        `pull_secrets` are docker configurations. Raises streamops_sandbox.node.images.ImageError.
        """
        # Imported when the first pod comes: an idle cluster needs neither.
        from streamops_sandbox.knative import programs  # noqa: PLC0415
        from streamops_sandbox.node.images import pull  # noqa: PLC0415

        program = programs.find(reference)
        if program is not None:
            return Runnable(f"sandbox://{reference}", program=program)
        begun = time.monotonic()
        image = await pull(
            reference,
            store=self._store,
            shared=self._shared,
            policy=policy,
            pull_secrets=pull_secrets,
        )
        pulled = policy == "Always" or reference not in self._present
        self._present.add(reference)
        seconds = time.monotonic() - begun if pulled else None
        return Runnable(image.image_id, image=image, seconds=seconds)
