"""Requirement files, read for the platform of an image instead of that of the controller.

pip evaluates environment markers for the Python it runs on, whatever `--platform` says, so the
lines are filtered here and handed to it without markers.
Format: https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

try:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name
except ImportError:  # read_requirements reports it
    Requirement = None  # type: ignore[assignment,misc]  # stands for the missing library

from .errors import OptionError
from .text_files import read_text


@dataclass(frozen=True)
class Line:
    """A requirement, and the `--hash` options behind it as they were written."""

    requirement: Requirement
    hashes: str

    @property
    def name(self) -> str:
        """The project's normalized name."""
        return str(canonicalize_name(self.requirement.name))

    @property
    def pinned(self) -> bool:
        """Whether there is one version only that it takes."""
        versions = list(self.requirement.specifier)
        exact = len(versions) == 1 and versions[0].operator in ("==", "===")
        return self.requirement.url is not None or (exact and not versions[0].version.endswith("*"))

    def text(self) -> str:
        """Return the line for pip, without marker."""
        plain = Requirement(str(self.requirement))
        plain.marker = None
        return f"{plain} {self.hashes}".strip()


def read_requirements(files: Sequence[Path], option: str, markers: Mapping[str, str]) -> list[Line]:
    """Return the lines of all files, and of those they include, that hold for an environment.

    `option` is named where a file is wrong; constraint files have the same form.
    """
    if Requirement is None:
        raise OptionError(
            f"{option}: the Python package packaging is missing on this host: pip install packaging"
        )
    return [
        line
        for file in files
        for line in _lines(file, option, set())
        if line.requirement.marker is None or line.requirement.marker.evaluate(dict(markers))
    ]


def _lines(file: Path, option: str, seen: set[Path]) -> Iterator[Line]:
    if file in seen:
        return
    seen.add(file)
    text = read_text(file, option)
    for raw in re.sub(r"\\\r?\n", " ", text).splitlines():
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        if not line:
            continue
        if match := re.fullmatch(r"(?:-r|--requirement|-c|--constraint)[\s=]+(.+)", line):
            yield from _lines(file.parent / match[1].strip(), option, seen)
        elif line.startswith("-"):
            raise OptionError(
                f"{option}: {file}: '{line}' is not taken here. Indexes belong into pip's own"
                " configuration; editable and local projects have to be built as wheels first."
            )
        else:
            yield _line(line, file, option)


def _line(line: str, file: Path, option: str) -> Line:
    requirement, *hashes = re.split(r"\s+(?=--hash[=\s])", line, maxsplit=1)
    try:
        return Line(Requirement(requirement), hashes[0] if hashes else "")
    except InvalidRequirement as error:
        raise OptionError(
            f"{option}: {file}: '{requirement}' is not a valid requirement, for example flask==3.1.3"
            f" ({str(error).splitlines()[0]})"
        ) from error
