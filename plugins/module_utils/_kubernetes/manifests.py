"""Manifests from text, files, folders and URLs, each object knowing where it came from."""

from __future__ import annotations

import base64
import concurrent.futures
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.download import (
    Download,
    Downloader,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import KubeError
from ansible_collections.streamops.knative.plugins.module_utils._yaml import (
    InvalidYaml,
    documents,
)

SUFFIXES = (".yaml", ".yml", ".json")
Object = dict[str, Any]


class Refused(KubeError):
    """Everything that is wrong with the input, found before anything was changed."""

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
    supplement: bool = False  # counts only where no other source has the object


def read(
    *,
    contents: list[dict[str, str]],
    files: list[str],
    urls: list[dict[str, str]],
    downloader: Downloader,
) -> list[Source]:
    """Read all sources; raise Refused with every problem of every source.

    `contents` are `{"name", "text"}`, `urls` are `{"url", "checksum"}`.
    """
    problems: list[str] = []
    texts: list[tuple[str, str]] = []
    for url, outcome in zip(urls, _download(urls, downloader), strict=True):
        if isinstance(outcome, str):
            texts.append((url["url"], outcome))
        else:
            problems.append(str(outcome))
    for name in files:
        try:
            texts += [(str(path), path.read_text(encoding="utf-8")) for path in expand(name)]
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"files: cannot read {name}: {error}")
        except KubeError as error:
            problems.append(str(error))
    texts += [(item["name"], item["text"]) for item in contents]
    sources: list[Source] = []
    for origin, text in texts:
        for parsed in parse(text, origin):
            if isinstance(parsed, str):
                problems.append(parsed)
            else:
                sources.append(parsed)
    if problems:
        raise Refused(problems)
    return sources


def _download(urls: list[dict[str, str]], downloader: Downloader) -> list[str | KubeError]:
    def fetch(item: dict[str, str]) -> str | KubeError:
        try:
            return downloader.text(Download(item["url"], item.get("checksum") or ""))
        except KubeError as error:
            return error

    if not urls:
        return []
    with concurrent.futures.ThreadPoolExecutor(min(8, len(urls))) as pool:
        return list(pool.map(fetch, urls))


def expand(name: str) -> list[Path]:
    """Files a path stands for: itself, or all manifests below a folder, sorted by path."""
    path = Path(name).expanduser()
    if not path.is_dir():
        return [path]
    found = sorted(
        Path(folder) / file
        for folder, _folders, files in os.walk(path)
        for file in files
        if file.endswith(SUFFIXES)
    )
    if not found:
        raise KubeError(f"files: the folder {name} holds no {', '.join(SUFFIXES)} file")
    return found


def parse(text: str, origin: str) -> Iterator[Source | str]:
    """Objects in a YAML or JSON text, or sentences about what is wrong with it."""
    try:
        for line, document in documents(text):
            if document is not None:
                yield from _objects(document, f"{origin}:{line}")
    except InvalidYaml as error:
        yield f"{origin}{error}"


def _objects(document: Any, place: str) -> Iterator[Source | str]:
    if isinstance(document, list):
        for entry in document:
            yield from _objects(entry, place)
        return
    if not isinstance(document, dict):
        yield f"{place}: not a Kubernetes object but {type(document).__name__}"
        return
    if document.get("kind") == "List" and isinstance(document.get("items"), list):
        yield from _objects(document["items"], place)
        return
    problem = _shape_problem(document)
    if problem:
        yield f"{place}: {problem}"
    else:
        yield Source(_normalise(document), place)


def _shape_problem(document: Object) -> str:
    for key in ("apiVersion", "kind"):
        if not isinstance(document.get(key), str) or not document[key]:
            return f"{key} is missing or not a text"
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        return f"{document['kind']}: metadata is missing or not a mapping"
    name = metadata.get("name") or metadata.get("generateName")
    if not isinstance(name, str) or not name:
        return f"{document['kind']}: metadata.name is missing or not a text (quote it?)"
    return ""


def _normalise(document: Object) -> Object:
    """What every writer of manifests means although an apply would take it another way."""
    metadata = document["metadata"]
    if metadata.get("creationTimestamp", "") is None:
        del metadata["creationTimestamp"]  # printed by code generators; not a wish
    if not metadata.get("name"):
        # An apply needs a name. One made of the content is the same in every run, and another one
        # for another version, so a Job runs once for each.
        metadata["name"] = metadata.pop("generateName") + digest(document.get("spec"))[:8]
    if document["kind"] == "Secret" and document.get("stringData"):
        # Write-only in the API: as it never comes back, ownership and changes could not be told.
        plain = document.pop("stringData")
        data = document.setdefault("data", {})
        for key, value in plain.items():
            data[key] = base64.b64encode(str(value).encode()).decode()
    if document["kind"] == "ClusterRole" and document.get("aggregationRule"):
        document.pop("rules", None)  # kept by the controller manager; an apply would fight it
    return document


def digest(value: Any) -> str:
    """Hexadecimal SHA-256 of a JSON value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
