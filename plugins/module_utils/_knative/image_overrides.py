"""Other references for images of a release: those of a mirror, and single ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from .._module.suggestion import meant
from .images import is_reference


def repository(reference: str) -> str:
    """Return a reference without its tag and its digest."""
    path, _slash, name = reference.partition("@")[0].rpartition("/")
    return f"{path}/{name.partition(':')[0]}"


class Replacement:
    """Other references for images: of a mirror for all, and full ones for some.

    Args:
        registry: Host and path in place of the host of every image, or empty.
        images: Full references by the end of the path of the image they replace (`serving/cmd/activator`).
    """

    def __init__(self, registry: str, images: Mapping[str, str]) -> None:
        self._registry = registry.rstrip("/")
        self._images = images

    def problems(self, found: Iterable[str]) -> Iterator[str]:
        """Yield what is wrong with the images to replace; `found` are those that the objects name."""
        repositories = sorted({repository(image) for image in found}) if self._images else []
        for name in self._images:
            meant = [path for path in repositories if _ends(path, name)]
            if not meant:
                yield f"images: no image is named '{name}'; {_meant(name, repositories)}"
            elif len(meant) > 1:
                yield f"images: '{name}' may be {' or '.join(meant)}: write more of its path"

    def __call__(self, reference: str) -> str:
        """Return the reference to use in place of one of the release's."""
        path = repository(reference)
        for name, image in self._images.items():
            if _ends(path, name):
                return image
        if not self._registry or not is_reference(reference):
            return reference
        return f"{self._registry}/{reference.partition('/')[2]}"


def _ends(path: str, name: str) -> bool:
    return path == name or path.endswith(f"/{name}")


def _meant(name: str, repositories: Collection[str]) -> str:
    """Return which end of a path was meant; where none is near, the paths."""
    parts = [path.split("/") for path in repositories]
    ends = ["/".join(path[start:]) for path in parts for start in range(1, len(path))]
    said = meant(name, ends)
    return said if said.startswith("did") else f"there are {', '.join(repositories)}"
