"""The application layer: a folder's files, less what is ignored, refused where they must not go out."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from .dockerignore import IgnoreRules
from .errors import FolderError, OptionError
from .layer import Entry
from .secret_files import find_secret
from .text_files import read_text

IGNORE_FILES = (".containerignore", ".dockerignore")


def read_app(
    folder: Path, target: str, allow_secrets: Sequence[str], option: str = "path"
) -> list[Entry]:
    """Return the folder's files as entries below `target` (absolute path in the image).

    `allow_secrets` holds patterns of paths that may go out although they look like secrets; `option` names
    the folder's option in messages.
    """
    if not folder.is_dir():
        raise OptionError(f"{option}: {folder} is not a folder")
    rules = IgnoreRules(_ignore_lines(folder))
    entries: list[Entry] = []
    problems: list[str] = []
    for path in _walk(folder, rules):
        name = path.relative_to(folder).as_posix()
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            link = _inner_link(folder, path)
            if link is None:
                problems.append(f"{name} links to {os.readlink(path)}, outside of the folder")
            else:
                entries.append(Entry(f"{target.strip('/')}/{name}", link=link))
        elif stat.S_ISREG(mode):
            content = path.read_bytes()
            secret = find_secret(name, content)
            if secret and not any(fnmatchcase(name, pattern) for pattern in allow_secrets):
                problems.append(f"{name} looks like a secret ({secret})")
            executable = bool(mode & stat.S_IXUSR)
            entries.append(Entry(f"{target.strip('/')}/{name}", content, executable))
        else:
            problems.append(f"{name} is neither a file, a folder nor a link")
    if problems:
        raise FolderError(
            f"{option}: {folder} must not go into an image as it is: {'; '.join(problems)}. Remove these,"
            f" or name them in {folder / '.dockerignore'}; secrets that are meant to be there are"
            " allowed by the option allow_secrets."
        )
    if not entries:
        raise FolderError(f"{option}: {folder} holds no file that is not ignored")
    return entries


def read_copy(source: Path, target: str, allow_secrets: Sequence[str], option: str) -> list[Entry]:
    """Return a file at `target`, or a folder's files below it, as `read_app` reads them."""
    if not source.is_file():
        return read_app(source, target, allow_secrets, option)
    content = source.read_bytes()
    secret = find_secret(source.name, content)
    if secret and not any(fnmatchcase(source.name, pattern) for pattern in allow_secrets):
        raise FolderError(
            f"{option}: {source} looks like a secret ({secret}); where it is meant to be in the image, name"
            " it in the option allow_secrets"
        )
    executable = bool(source.stat().st_mode & stat.S_IXUSR)
    return [Entry(target.strip("/"), content, executable)]


def _ignore_lines(folder: Path) -> list[str]:
    for name in IGNORE_FILES:
        if (folder / name).is_file():
            return read_text(folder / name, "path").splitlines()
    return []


def _walk(folder: Path, rules: IgnoreRules) -> Iterator[Path]:
    """Yield everything below `folder` that is not ignored and not a folder; links are not followed."""
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        folders[:] = [
            name
            for name in folders
            if name not in links
            and not rules.prunes(Path(parent, name).relative_to(folder).as_posix())
        ]
        for name in sorted([*files, *links]):
            path = Path(parent, name)
            if not rules.ignored(path.relative_to(folder).as_posix()):
                yield path


def _inner_link(folder: Path, path: Path) -> str | None:
    """Return a link's target, relative to the link; None where it leads out of the folder."""
    target = os.readlink(path)
    if os.path.isabs(target):
        return None
    lexical = os.path.normpath(path.parent / target)
    for place in (lexical, os.path.realpath(path)):
        top = os.path.realpath(folder) if place != lexical else os.path.normpath(folder)
        if os.path.commonpath([top, place]) != top:
            return None
    return target
