"""Which program stands in for which of upstream's images."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import yaml

from streamops_sandbox.node.context import ContainerContext, Program

_PROGRAMS: dict[str, list[str]] = yaml.safe_load(
    (Path(__file__).parent / "programs.yaml").read_text(encoding="utf-8")
)
_TAG_OR_DIGEST = re.compile(r"(:[\w.-]+)?(@[\w:]+)?$")


def find(image: str) -> Program | None:
    """Return the program for an image, or None where the sandbox has none for it.

    Registry or mirror before the path, tag and digest after it do not matter.
    """
    path = _TAG_OR_DIGEST.sub("", image)
    for name, target in _PROGRAMS.items():
        if path == name or path.endswith(f"/{name}"):
            return _lazy(*map(str, target))
    return None


def _lazy(module: str, function: str, *arguments: str) -> Program:
    """Return a program whose module is imported only when it starts."""

    async def run(ctx: ContainerContext) -> int:
        imported = importlib.import_module(f"streamops_sandbox.knative.{module}")
        code: int = await getattr(imported, function)(ctx, *arguments)
        return code

    return run
