"""A sandbox with the whole site on it, fed with the recorded posts; one for each file, which may spoil it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.site import PATIENCE, ROOT, Site, environment_for, installed_checkout, sandbox

POSTS = ROOT.parent / "shared" / "x-api" / "recorded-posts.json"

#: The recorded posts carry no language, and some are retweets.
EVERYTHING = json.dumps({"twitter_pipeline_languages": [], "twitter_pipeline_excludes": []})


#: The files that take longest, the longest first: a worker that begins one late is the last to end.
LONGEST = (
    *("test_molecule_roles", "test_pipelines", "test_molecule", "test_site"),
    *("test_airgap", "test_teams", "test_sources", "test_event_driven_guide"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, and give the tests on the site the time that its set-up takes."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(LONGEST)))
    for item in items:
        if "machine" in getattr(item, "fixturenames", ()) and not item.get_closest_marker(
            "timeout"
        ):
            item.add_marker(pytest.mark.timeout(700 * PATIENCE))


@pytest.fixture(scope="session")
def posts() -> list[dict[str, Any]]:
    """The recorded posts, as X sent them."""
    if not POSTS.exists():
        pytest.skip("the recorded posts are not beside this checkout")
    recorded: list[dict[str, Any]] = json.loads(POSTS.read_text(encoding="utf-8"))["data"]
    return recorded


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A sandbox with nothing on it; its X has the recorded posts, where they are there."""
    recorded = ("--posts", str(POSTS)) if POSTS.exists() else ()
    with sandbox(tmp_path_factory.mktemp("sandbox"), *recorded) as running:
        running.variables = EVERYTHING
        yield running


@pytest.fixture(scope="session")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the collection was installed, from the artifact that is built of this checkout."""
    folder = tmp_path_factory.mktemp("installed")
    environment = environment_for(folder)
    build = ("ansible-galaxy", "collection", "build", "--output-path", str(folder))
    Site(folder, environment).run(*build)
    (artifact,) = folder.glob("streamops-knative-*.tar.gz")
    # Where no ansible.cfg says that the checkout is the collection.
    Site(folder, environment, cwd=folder).run(
        "ansible-galaxy", "collection", "install", str(artifact),
        "--collections-path", str(folder), "--offline", "--no-deps",
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def workplace(machine: Site, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The same sandbox for somebody with a checkout of their own, to run `make` in."""
    folder = installed_checkout(tmp_path_factory.mktemp("workplace") / "checkout")
    return Site(machine.home, machine.environment, EVERYTHING, cwd=folder)


@pytest.fixture(scope="module")
def site(machine: Site) -> Site:
    """A sandbox with the whole site on it."""
    machine.play("site.yml", "-e", EVERYTHING)
    return machine
