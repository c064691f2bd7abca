"""What the module `oci_image` does: build, compare with the registry, push."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from .._module.cache_folder import cache_folder
from .._module.text import require_texts
from .._yaml import dump
from .attachments import attach_missing
from .base_image import find_base
from .build import Builder, Recipe
from .cache import Cache
from .connect import open_repository
from .errors import OptionError
from .image import CREATED_BY, REVISION, Document, Image, Settings, index
from .platform import Platform
from .push import Pusher, State
from .reference import Reference, check_tag
from .registry import Repository
from .revision import committed_revision
from .sbom import bill_of_materials
from .signing import SigningKey

Json = dict[str, Any]
_DIFF_LAYER_LIMIT = 20_000_000  # bytes; a larger application layer is not fetched for a diff
#: Options that a Recipe and Settings have as they are.
_SAME_IN_RECIPE = (
    "python_version",
    "wheel_platforms",
    "allow_secrets",
    "compression",
    "pip_timeout",
)
_SAME_IN_SETTINGS = ("entrypoint", "command", "user", "workdir", "ports", "stop_signal")
_NONE: Json = {"before": "", "after": ""}


def run(
    options: Json,
    *,
    check: bool,
    diff: bool,
    progress: Callable[[str], None] = lambda _sentence: None,
) -> Json:
    """Make the registry hold the image; returns what the module returns. Raises OciError.

    `progress` takes a sentence about what is going to take time.
    """
    target, base = _repositories(options)
    key = _signing_key(options)
    tags = [check_tag(tag) for tag in options["tags"]]
    if not tags:
        raise OptionError("tags: at least one is needed")
    cache = Cache(Path(options["cache"] or _default_cache()))
    recipe = _recipe(options)
    builder = Builder(recipe, cache, progress)
    platforms = [Platform.parse(text) for text in options["platforms"]]
    base_digest, bases = find_base(base, cache, platforms)

    def build(settings: Settings) -> tuple[list[Image], Document]:
        built = [builder.build(platform, bases[platform], settings) for platform in sorted(bases)]
        return built, built[0].manifest if len(built) == 1 else index(built, settings, base_digest)

    settings = _settings(options)
    images, document = build(settings)
    pusher = Pusher(target, base, cache, progress)
    state = pusher.state(tags)
    any_revision = REVISION not in settings.annotations
    same = pusher.same(state, document, images, any_revision=any_revision)
    changed = not state.is_at(str(state.digest) if same else document.digest)
    if changed and any_revision:
        # Only now: in a repository with a long history git takes long to find it.
        paths = [recipe.folder, *(source for source, _dest in recipe.copies)]
        settings = replace(settings, revision=committed_revision(paths))
        images, document = build(settings)
    digest = str(state.digest) if same else document.digest
    difference = _diff(pusher, builder, state, images, base_digest) if changed and diff else _NONE
    if changed and not check:
        pusher.push(images, document, tags, builder.files)
        digest = document.digest
    name = target.reference.repository
    own = [document.descriptor(), *(image.manifest.descriptor() for image in images)]
    top, *parts = own if changed or digest == document.digest else state.descriptors()
    bills = [
        bill_of_materials(
            name, part, image.base.digest, builder.packages.get(image.platform, []), settings.epoch
        )
        for image, part in zip(images, parts or [top], strict=True)
        if options["sbom"]
    ]
    signed = list({one["digest"]: one for one in (top, *parts)}.values())
    attached = attach_missing(target, bills, key, signed, check=check)
    if attached and not changed:
        difference = {"before": "", "after": dump({"attached": attached})}
    result: Json = {
        "changed": changed or bool(attached),
        "warnings": [*dict.fromkeys(builder.warnings)],
    }
    if diff:
        result["diff"] = difference
    return result | {
        "attached": attached,
        "image": f"{name}@{digest}",
        "digest": digest,
        "tags": [f"{name}:{tag}" for tag in tags],
        "base_digest": base_digest,
        "platforms": [str(image.platform) for image in images],
        "size": sum(one.layer.size for image in images for one in image.added),
        "pushed": vars(pusher.pushed),
    }


def _repositories(options: Json) -> tuple[Repository, Repository]:
    """Return the repository to push to, and the base's."""
    name = Reference.parse(options["name"], "name")
    if name.tag or name.digest:
        raise OptionError(f"name: '{options['name']}' has a tag or digest; tags go into 'tags'")
    base = Reference.parse(options["base"], "base")
    return open_repository(name, name, options), open_repository(base, name, options)


def _recipe(options: Json) -> Recipe:
    folder = Path(options["path"]).absolute()

    def files(option: str, default: str) -> list[Path]:
        if options[option] is None:
            return [folder / default] if (folder / default).is_file() else []
        return [folder / name for name in options[option]]

    places = {name: options[name] for name in ("app_path", "dependencies_path")}
    places |= {f"copy[{number}].dest": one["dest"] for number, one in enumerate(options["copy"])}
    for option, path in places.items():
        if not path.startswith("/") or path.strip("/") == "":
            raise OptionError(f"{option}: '{path}' is not an absolute path below /")
    return Recipe(
        folder=folder,
        copies=[(Path(entry["src"]).absolute(), entry["dest"]) for entry in options["copy"]],
        requirements=files("requirements", "requirements.txt"),
        constraints=files("constraints", "constraints.txt"),
        app_path=options["app_path"].rstrip("/"),
        dependencies_path=options["dependencies_path"].rstrip("/"),
        **{name: options[name] for name in _SAME_IN_RECIPE},
    )


def _signing_key(options: Json) -> SigningKey | None:
    if not options["signing_key"]:
        return None
    return SigningKey(Path(options["signing_key"]), options["signing_key_password"] or "")


def _settings(options: Json) -> Settings:
    epoch = options["source_date_epoch"]
    if epoch is None:
        given = os.environ.get("SOURCE_DATE_EPOCH", "0")
        if not given.isdecimal():
            raise OptionError(f"SOURCE_DATE_EPOCH: '{given}' is not a number of seconds")
        epoch = int(given)

    def texts(option: str) -> dict[str, str]:
        return require_texts(option, options[option], OptionError)

    return Settings(
        env=texts("env"),
        **{name: options[name] for name in _SAME_IN_SETTINGS},
        labels=texts("labels"),
        annotations=texts("annotations"),
        epoch=epoch,
    )


def _default_cache() -> Path:
    home = os.environ.get("ANSIBLE_HOME")
    return (Path(home) if home else cache_folder()) / "oci_image"


# Human-readable changes


def _diff(
    pusher: Pusher, builder: Builder, state: State, images: Sequence[Image], base_digest: str
) -> Json:
    target = pusher.target
    after = {}
    for image in images:
        manifest = image.manifest.value()
        files = _files(builder.files[manifest["layers"][-1]["digest"]])
        after[str(image.platform)] = _described(image.config, manifest, files)
    before = _before(target, state, pusher.cache)
    return {
        "before_header": f"{target.reference.repository} ({state.digest or 'absent'})",
        "after_header": f"{target.reference.repository} (on {base_digest})",
        "before": dump(before) if before else "",
        "after": dump(after),
    }


def _before(target: Repository, state: State, cache: Cache) -> Json:
    """Describe what the registry has."""
    manifests = [state.manifest] if "layers" in state.manifest else []
    for entry in state.manifest.get("manifests", []):
        found = target.manifest(entry["digest"])
        manifests += [json.loads(found[0])] if found else []
    described: Json = {}
    for manifest in manifests:
        config = Document("", target.read_blob(manifest["config"]["digest"]))
        value = config.value()
        layer = manifest["layers"][-1]
        files = {}
        if layer["size"] <= _DIFF_LAYER_LIMIT:
            with cache.temporary() as path:
                target.fetch_blob(layer["digest"], layer["size"], path)
                files = _files(path)
        platform = f"{value.get('os')}/{value.get('architecture')}"
        described[platform] = _described(config, manifest, files)
    return described


def _files(path: Path) -> dict[str, str]:
    """Return the files of a layer, each with the beginning of its digest or where it links to."""
    with tarfile.open(path) as tar:
        return {
            member.name: f"-> {member.linkname}"
            if member.issym()
            else hashlib.file_digest(cast(Any, tar.extractfile(member)), "sha256").hexdigest()[:12]
            for member in tar
            if member.isfile() or member.issym()
        }


def _described(config: Document, manifest: Json, files: dict[str, str]) -> Json:
    """Return what of an image is worth comparing: settings, dependencies, annotations, layers."""
    value = config.value()
    notes = {
        entry.get("created_by"): entry.get("comment", "") for entry in value.get("history", [])
    }
    return {
        "created": value.get("created"),
        "config": value.get("config") or {},
        "dependencies": notes.get(f"{CREATED_BY}: dependencies", "").split(),
        "files": files,
        "annotations": manifest.get("annotations") or {},
    }
