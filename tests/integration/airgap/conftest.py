"""A release of Knative, a registry with its images, and a bundle of both."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from support.airgap import BOTH, ENVOY, FILES, QUEUE, Release
from support.registries import Registry, proxy, sandbox_registry
from support.upstream import Upstream

from streamops_sandbox.knative import release


@pytest.fixture(scope="package")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """The release, with an image behind each reference."""
    folder = tmp_path_factory.mktemp("release")
    texts = []
    for repository, names in FILES.items():
        for name in names:
            text = release.render(repository, "1.23.0", name)
            assert text
            (folder / f"{name}.yaml").write_text(text)
            texts.append(text)
    references = set(re.findall(r"(?:gcr\.io|docker\.io)/\S+", "\n".join(texts)))
    with sandbox_registry(tmp_path_factory.mktemp("upstream")) as registry:
        upstream = Upstream(registry)
        for reference in references:
            upstream.publish(reference, BOTH if reference in (ENVOY, QUEUE) else BOTH[:1])
        yield Release(folder, upstream, references, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def upstream(published: Release) -> Iterator[Release]:
    """The release, behind a proxy that notes what is asked for."""
    asked: list[str] = []

    def note(request: web.Request, answer: web.Response) -> web.Response:
        asked.append(f"{request.method} {request.path}")
        return answer

    with proxy(published.upstream.registry, note) as watched:
        yield Release(
            published.folder,
            Upstream(watched),
            published.references,
            published.cache,
            asked,
        )


@pytest.fixture(scope="package")
def bundle(published: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the release; a test that changes it takes a copy."""
    path = tmp_path_factory.mktemp("bundle") / "knative.tar"
    published.collect(path)
    return path


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """The registry of a network without the internet: empty, and closed to those without credentials."""
    home = tmp_path / "registry"
    home.mkdir()
    with sandbox_registry(home) as running:
        yield running
