"""Manifests from text, files, folders and URLs, each object with its origin."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._module.parallel import in_parallel
from .._yaml import InvalidYaml, decode, documents, type_name
from .download import Download, Downloader
from .errors import KubeError

SUFFIXES = (".yaml", ".yml", ".json")
#: Metadata that only the server sets; an object that has some of it was exported from a cluster.
_SERVER_SET = ("managedFields", "uid", "selfLink", "generation", "creationTimestamp")
Object = dict[str, Any]


class Refused(KubeError):
    """All problems of the input, found before anything was changed."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        count = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
        super().__init__(
            f"Nothing was changed: {count} in what was given.\n"
            + "\n".join(f"- {problem}" for problem in problems)
        )


@dataclass(frozen=True)
class Source:
    """One object as it was written, and where: "file.yaml:12" or "definitions[0]"."""

    definition: Object
    origin: str
    is_extra: bool = False  # counts only where no other source has the object


@dataclass
class Manifests:
    """Collects the objects of texts, with every problem and warning about them.

    `strict` is whether a key that is given twice is a problem; else the last one counts, with a warning
    if `warn_duplicates`.
    """

    strict: bool = True
    warn_duplicates: bool = False
    sources: list[Source] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _generated: Counter[str] = field(default_factory=Counter)

    def add(self, origin: str, text: str | bytes) -> None:
        """Read one text or file content."""

        def duplicate(message: str) -> None:
            if self.warn_duplicates:
                self.warnings.append(f"{origin}{message}: the last one is used")

        try:
            decoded = decode(text) if isinstance(text, bytes) else text
            for line, document in documents(decoded, None if self.strict else duplicate):
                self._add_document(document, f"{origin}:{line}")
        except InvalidYaml as error:
            self.problems.append(f"{origin}{error}")

    def result(self) -> list[Source]:
        """Return the objects; raise Refused with all problems."""
        if self.problems:
            raise Refused(self.problems)
        return self.sources

    def _add_document(self, document: Any, place: str, kind: str = "", version: str = "") -> None:
        """Add an object, or those of a list of objects of a `kind`."""
        if isinstance(document, list):
            for entry in document:
                self._add_document(entry, place)
            return
        if not isinstance(document, dict):
            self.problems.append(f"{place}: {type_name(document)} is not a Kubernetes object")
            return
        if _is_list(document):
            listed = str(document["kind"])
            for entry in document["items"] or []:
                self._add_document(
                    entry, place, listed.removesuffix("List"), document.get("apiVersion", "")
                )
            return
        if kind:  # the items of a typed list need neither
            document = {"apiVersion": version, "kind": kind, **document}
        problems = _problems(document)
        self.problems += [f"{place}: {problem}" for problem in problems]
        if not problems:
            self._normalise(document, place)
            self.sources.append(Source(document, place))

    def _normalise(self, document: Object, place: str) -> None:
        """Rewrite what an apply would take otherwise than every writer of manifests means it."""
        metadata = document["metadata"]
        self._clean_export(document, place)
        if not metadata.get("name"):
            metadata["name"] = self._generated_name(document)
        if document["kind"] == "Secret" and "stringData" in document:
            # Write-only in the API: it never comes back, so neither ownership nor changes of it do.
            plain = document.pop("stringData") or {}
            data = document["data"] = document.get("data") or {}
            for key, value in plain.items():
                data[key] = base64.b64encode((value or "").encode()).decode()
        if document["kind"] == "ClusterRole" and document.get("aggregationRule"):
            document.pop("rules", None)  # kept by the controller manager; an apply would fight it

    def _clean_export(self, document: Object, place: str) -> None:
        """Leave out what only the server sets, as `kubectl get -o yaml` prints it."""
        metadata = document["metadata"]
        given = [name for name in _SERVER_SET if name in metadata]
        left_out = [f"metadata.{name}" for name in given if metadata.pop(name) is not None]
        if "metadata.uid" in left_out and document.pop("status", None):
            left_out.append("status")
        if left_out:
            self.warnings.append(
                f"{place}: left out, as only the server sets: {', '.join(left_out)}"
            )

    def _generated_name(self, document: Object) -> str:
        """Return a name for generateName, since an apply needs one.

        It is made of the content, so it is the same in every run, and another one for other content: a
        Job runs once for each version. The second object with the same content has a name of its own.
        """
        prefix = document["metadata"].pop("generateName")
        body = {k: v for k, v in document.items() if k not in ("apiVersion", "kind", "metadata")}
        content = body["spec"] if body.keys() == {"spec"} else body or None
        name = f"{prefix}{digest(content)[:8]}"
        identity = f"{document['kind']} {document['metadata'].get('namespace', '')}/{name}"
        self._generated[identity] += 1
        number = self._generated[identity]
        return name if number == 1 else f"{prefix}{digest([content, number])[:8]}"


def read(
    manifests: Manifests,
    *,
    contents: list[dict[str, str]],
    files: list[str],
    urls: list[Download],
    downloader: Downloader,
) -> None:
    """Add all texts (`{"name", "text"}`), files and downloads."""
    for url, outcome in zip(urls, _download(urls, downloader), strict=True):
        if isinstance(outcome, bytes):
            manifests.add(url.url, outcome)
        else:
            manifests.problems.append(str(outcome))
    for name in files:
        try:
            for path in expand(name):
                manifests.add(str(path), path.read_bytes())
        except OSError as error:
            manifests.problems.append(f"files: cannot read {name}: {error}")
        except KubeError as error:
            manifests.problems.append(str(error))
    for item in contents:
        manifests.add(item["name"], item["text"])


def _download(urls: list[Download], downloader: Downloader) -> list[bytes | KubeError]:
    def fetch(item: Download) -> bytes | KubeError:
        try:
            return downloader.content(item)
        except KubeError as error:
            return error

    return in_parallel(fetch, urls)


def expand(name: str) -> list[Path]:
    """Return the files of a path: itself, or all manifests below a folder, sorted by path.

    Links are followed, each folder once.
    """
    path = Path(name).expanduser()
    if not path.is_dir():
        return [path]
    found = sorted(_below(path, set()))
    if not found:
        raise KubeError(f"files: the folder {name} holds no {', '.join(SUFFIXES)} file")
    return found


def _below(folder: Path, seen: set[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _below(entry, seen)
        elif entry.name.endswith(SUFFIXES):
            yield entry


def _is_list(document: Object) -> bool:
    """Return whether a document is a List, or a typed list such as ConfigMapList."""
    kind = document.get("kind")
    return (
        isinstance(kind, str)
        and kind.endswith("List")
        and "items" in document
        and isinstance(document["items"], list | None)
        and not (isinstance(document.get("metadata"), dict) and document["metadata"].get("name"))
    )


def _problems(document: Object) -> list[str]:
    for key in ("apiVersion", "kind"):
        if not isinstance(document.get(key), str) or not document[key]:
            return [f"{key} is missing or not a text"]
    kind, metadata = document["kind"], document.get("metadata")
    if not isinstance(metadata, dict):
        return [f"{kind}: metadata is missing or not a mapping"]
    name = metadata.get("name") or metadata.get("generateName")
    if not isinstance(name, str) or not name:
        return [f"{kind}: metadata.name is missing or not a text (quote it?)"]
    texts = {f"metadata.{key}": metadata.get(key) for key in ("labels", "annotations")}
    if kind == "Secret":
        texts |= {key: document.get(key) for key in ("data", "stringData")}
    if kind == "ConfigMap":
        texts |= {key: document.get(key) for key in ("data", "binaryData")}
    return [problem for where, value in texts.items() for problem in _not_texts(kind, where, value)]


def _not_texts(kind: str, where: str, value: Any) -> list[str]:
    """Return what is wrong with a mapping of texts; Kubernetes takes null for an empty one."""
    if value is None:
        return []
    if not isinstance(value, dict):
        return [f"{kind}: {where} is {type_name(value)}, not a mapping"]
    secret = "its value is not shown" if kind == "Secret" else ""
    return [
        f"{kind}: {where}.{key} is {type_name(entry)} ({secret or json.dumps(entry)[:40]}), not a text:"
        " quote it"
        for key, entry in value.items()
        if not isinstance(entry, str | None)
    ]


def digest(value: Any) -> str:
    """Return the hexadecimal SHA-256 of a JSON value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
