"""The list of what a bundle holds, which is its member bundle.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .._knative.images import references
from .._kubernetes.manifests import Manifests
from .archive import Archive
from .errors import BundleError

LIST = "bundle.json"
INDEX = "index.json"
_FORMAT = 1
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}")
_FILE = re.compile(r"releases/[a-z_]+-[0-9.]+/([a-z0-9-]+\.yaml)")


@dataclass(frozen=True)
class Image:
    """An image: its reference as it was named, and what is in the bundle of it.

    `source_digest` is what the reference names where it is from; `digest` is another one where only some of
    its platforms are in the bundle. `size` is that of all its blobs, in bytes. Without `used_by` it is
    one that was asked for besides the releases'; `users` says it whatever is written there.
    """

    reference: str
    digest: str
    source_digest: str
    platforms: list[str]
    size: int
    used_by: list[str]


@dataclass(frozen=True)
class Contents:
    """What a bundle holds; `files` are the digests of release files, by member name."""

    components: list[str]
    versions: dict[str, str]
    platforms: list[str]
    files: dict[str, str]
    images: list[Image]

    def document(self) -> bytes:
        """Return the member."""
        return f"{json.dumps({'format': _FORMAT, **asdict(self)}, indent=1)}\n".encode()


def release_file(project: str, version: str, name: str) -> str:
    """Return the member name of a release file."""
    return f"releases/{project}-{version}/{name}"


def users(files: Mapping[str, bytes]) -> dict[str, list[str]]:
    """Return the objects in release files that name images, by the references of these."""
    manifests = Manifests()
    for name, text in files.items():
        manifests.add(name, text)
    found: dict[str, list[str]] = {}
    for source in manifests.result():
        definition = source.definition
        for reference in references(definition):
            user = f"{definition['kind']} {definition['metadata']['name']}"
            found.setdefault(reference, []).append(user)
    return found


def read(archive: Archive) -> Contents:
    """Return the list of a bundle; BundleError where it is damaged, or of another format."""
    for name in (LIST, INDEX):
        if problem := archive.problem(name, archive.checksums().get(name, "")):
            raise BundleError(f"path: {archive.path}: {problem}: copy or make the bundle again")
    try:
        value: Any = json.loads(archive.document(LIST))
        if value.pop("format") != _FORMAT:
            raise BundleError(
                f"path: {archive.path} has a format that this version of the collection does not"
                " read: make the bundle with the same version of the collection"
            )
        images = [Image(**entry) for entry in value.pop("images")]
        contents = Contents(images=images, **value)
        _check(contents)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            f"path: {archive.path}: {LIST} is not the list of a bundle: {error}"
        ) from error
    return contents


def _check(contents: Contents) -> None:
    """Raise ValueError for names and digests that would not stay within a folder or a repository."""
    for name in contents.files:
        if not _FILE.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a release file")
    digests = [*contents.files.values(), *(image.digest for image in contents.images)]
    for digest in digests:
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r} is not a digest")


def mismatches(contents: Contents, components: list[str], versions: Mapping[str, str]) -> list[str]:
    """Return why a bundle is not the one that is needed; `versions` by project, those that matter."""
    found = [
        f"{project}_version: the bundle holds {project} {contents.versions[project]}, not {version}:"
        f" set the version to {contents.versions[project]}, or make a bundle of {version}"
        for project, version in versions.items()
        if project in contents.versions and contents.versions[project] != version
    ]
    lacking = [name for name in components if name not in contents.components]
    if lacking:
        found.append(
            f"components: the bundle has no {', '.join(lacking)}; it has"
            f" {', '.join(contents.components)}: choose fewer, or make a bundle with all of them"
        )
    return found
