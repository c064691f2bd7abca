"""Collects a release, with every image that it names, into one file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .._knative.releases import Source, Version, check_components, projects_of
from .._kubernetes.download import Download, Downloader
from .._kubernetes.errors import KubeError
from .._module.errors import TaskError
from .._oci.image import INDEX_TYPE
from .._oci.platform import Platform
from .._oci.verification import Verification
from . import contents as listing
from . import signed
from .archive import Archive, Plan, Section, blob_name, intact
from .contents import Contents, Image, release_file
from .draft import Draft, remains
from .errors import BundleError
from .resolve import Resolved, Resolver
from .transfer import Transfer, write_error

Json = dict[str, Any]
_MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Order:
    """What goes into a bundle. `images` are those besides the releases'; no `platforms` are all."""

    components: Sequence[str]
    versions: Mapping[str, Version]
    source: Source
    images: Sequence[str]
    platforms: Sequence[Platform]


@dataclass(frozen=True)
class Collected:
    """What a bundle holds and what had to be done for it, in bytes."""

    contents: Contents
    changed: bool
    size: int
    fetched: int
    kept: int


@dataclass(frozen=True)
class Collector:
    """Makes bundles; `size_limit` in MiB, `workers` images or blobs at a time.

    With a `verification` the images' signatures are checked, and collected as well.
    """

    resolver: Resolver
    downloader: Downloader
    transfer: Transfer
    size_limit: float
    workers: int
    check_mode: bool
    verification: Verification | None = None

    def collect(self, order: Order, path: Path) -> Collected:
        """Make `path` the bundle of an order; raises BundleError with all problems of a step."""
        if not path.parent.is_dir():
            raise BundleError(f"path: the folder {path.parent} does not exist: make it first")
        if path.is_dir():
            raise BundleError(
                f"path: {path} is a folder: name a file, for example {path}/knative.tar"
            )
        files = self._files(order)
        images, used_by = self._images(order, files)
        contents = _contents(order, files, images, used_by)
        signatures = {}
        if self.verification:
            self.transfer.note("verifying signatures")
            earlier = [Archive.read_remains(one) for one in remains(path)]
            signatures = signed.collect(self.verification, images, used_by, earlier)
        plan = _plan(contents, {**files, **signatures}, images)
        self._check_size(plan)
        if self.check_mode:
            have = _stored(remains(path), plan)
            return _collected(contents, plan, have, changed=not _is_complete(path, plan, have))
        with Draft(path) as draft:
            have = _stored([path], plan)
            if _is_complete(path, plan, have):
                draft.discard()
                return _collected(contents, plan, have, changed=False)
            present = draft.prepare(plan)
            self._fetch(plan, draft, present, images)
            draft.complete()
        return _collected(contents, plan, present, changed=True)

    def _fetch(
        self, plan: Plan, draft: Draft, present: Collection[str], images: Sequence[Resolved]
    ) -> None:
        """Fetch the blobs that are not present."""
        sources = {digest: one.repository for one in images for digest in one.blobs}
        lacking = [digest for digest in plan.blobs if digest not in present]
        # The largest first, so that the end is not one connection's.
        lacking.sort(key=lambda digest: plan.blobs[digest], reverse=True)
        self.transfer.total = sum(plan.blobs.values())
        self.transfer.done = sum(plan.blobs[digest] for digest in present)

        def fetch(digest: str) -> None:
            def write(position: int, chunk: bytes) -> None:
                try:
                    plan.write(draft.file, digest, position, chunk)
                except OSError as error:
                    raise write_error(error, draft.path) from error
                self.transfer.add(len(chunk))

            sources[digest].stream_blob(digest, plan.blobs[digest], write)

        self.transfer.run([partial(fetch, digest) for digest in lacking], self.workers)

    # What goes in

    def _files(self, order: Order) -> dict[str, bytes]:
        """Return the release files by member name."""
        if problems := check_components(order.components):
            raise BundleError("\n".join(problems))
        wanted = order.source.release_files(order.components)
        located = order.source.locate(wanted, order.versions)
        found: dict[str, bytes] = {}
        problems = []
        places: list[Any] = [*located.paths, *located.urls]
        for (project, name), place in zip(wanted, places, strict=True):
            member = release_file(project, str(order.versions[project]), name)
            try:
                if isinstance(place, Download):
                    found[member] = self.downloader.content(place)
                else:
                    found[member] = Path(place).read_bytes()
            except (OSError, KubeError) as error:
                problems.append(str(error))
        _refuse("release files", problems)
        return found

    def _images(
        self, order: Order, files: Mapping[str, bytes]
    ) -> tuple[list[Resolved], dict[str, list[str]]]:
        """Return every image, and by its reference the objects that name it."""
        used_by = listing.users(files)
        names = list(dict.fromkeys([*sorted(used_by), *order.images]))
        problems: list[str] = []

        def resolve(name: str) -> Resolved | None:
            self.transfer.note(f"looking up {name}")
            try:
                return self.resolver.resolve(name)
            except TaskError as error:
                problems.append(str(error))
                return None

        found = self.transfer.run([partial(resolve, name) for name in names], self.workers)
        _refuse("images", problems)
        return [image for image in found if image], used_by

    def _check_size(self, plan: Plan) -> None:
        if plan.size > self.size_limit * _MEBIBYTE:
            raise BundleError(
                f"size_limit: the bundle would have {plan.size} bytes, and {self.size_limit:g} MiB"
                " are allowed: choose fewer platforms or components, or raise the limit"
            )


def _contents(
    order: Order,
    files: Mapping[str, bytes],
    images: Sequence[Resolved],
    used_by: Mapping[str, list[str]],
) -> Contents:
    return Contents(
        components=list(order.components),
        versions={name: str(order.versions[name]) for name in projects_of(order.components)},
        platforms=[str(platform) for platform in order.platforms],
        files={name: f"sha256:{hashlib.sha256(text).hexdigest()}" for name, text in files.items()},
        images=[
            Image(
                reference=image.name,
                digest=image.top.digest,
                source_digest=image.source_digest,
                platforms=image.platforms,
                size=image.size,
                used_by=used_by.get(image.name, []),
            )
            for image in images
        ],
    )


def _plan(contents: Contents, files: Mapping[str, bytes], images: Sequence[Resolved]) -> Plan:
    entries = []
    documents: dict[str, bytes] = {}
    blobs: dict[str, int] = {}
    for image in images:
        name, _at, _digest = image.name.partition("@")
        annotations = {
            "io.containerd.image.name": image.name,
            "org.opencontainers.image.ref.name": name,
        }
        entries.append({**image.top.descriptor(), "annotations": annotations})
        documents |= {blob_name(one.digest): one.content for one in image.documents.values()}
        blobs |= image.blobs
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}
    members = {
        listing.LIST: contents.document(),
        listing.INDEX: f"{json.dumps(index, indent=1)}\n".encode(),
        **files,
        **documents,
    }
    known = {name for name in members if name.startswith("blobs/")}
    return Plan(members, {d: size for d, size in blobs.items() if blob_name(d) not in known})


def _refuse(what: str, problems: Sequence[str]) -> None:
    if problems:
        raise BundleError(
            f"Nothing was written: {len(problems)} of the {what} cannot be had.\n"
            + "\n".join(f"- {problem}" for problem in sorted(set(problems)))
        )


# What is there already


def _stored(paths: Sequence[Path], plan: Plan) -> dict[str, Section]:
    """Return the blobs that files have, verified."""
    found: dict[str, Section] = {}
    for path in reversed(paths):
        found |= intact(Archive.read_remains(path), plan.blobs)
    return found


def _is_complete(path: Path, plan: Plan, have: Mapping[str, Section]) -> bool:
    """Return whether a file is the bundle already; `have` are the blobs that are intact."""
    archive = Archive.read_remains(path)
    own = [section for section in have.values() if section.path == path]
    return plan.is_of(archive) and len(own) == len(plan.blobs) and plan.has_documents(archive)


def _collected(
    contents: Contents, plan: Plan, present: Collection[str], *, changed: bool
) -> Collected:
    kept = sum(plan.blobs[digest] for digest in present)
    return Collected(contents, changed, plan.size, sum(plan.blobs.values()) - kept, kept)
