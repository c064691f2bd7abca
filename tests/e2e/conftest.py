"""A sandbox with the whole site on it, fed with the recorded posts; one for each file, which may spoil it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.site import COLLECTION, PATIENCE, ROOT, Site, installed_checkout, sandbox

POSTS = ROOT.parent / "shared" / "x-api" / "recorded-posts.json"

#: The recorded posts carry no language, and some are retweets.
EVERYTHING = json.dumps({"twitter_pipeline_languages": [], "twitter_pipeline_excludes": []})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests on the site the time that its set-up takes on a busy machine."""
    for item in items:
        if "machine" in getattr(item, "fixturenames", ()) and not item.get_closest_marker(
            "timeout"
        ):
            item.add_marker(pytest.mark.timeout(700 * PATIENCE))


@dataclass
class Build:
    """A site and how it came about: what `--check` foresaw, what the run did, what was there before."""

    site: Site
    foreseen_without_cluster: str = ""
    foreseen: str = ""
    output: str = ""
    progress: str = ""
    before: set[str] = field(default_factory=set)


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
        yield running


@pytest.fixture(scope="module")
def installed(machine: Site, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The same sandbox for somebody who has no checkout: the collection, built and installed.

    In that folder no ansible.cfg leads to the checkout, so what the artifact lacks is missing here.
    """
    folder = tmp_path_factory.mktemp("installed")
    machine.run("ansible-galaxy", "collection", "build", "--output-path", str(folder))
    (artifact,) = folder.glob("streamops-knative-*.tar.gz")
    environment = machine.environment | {"ANSIBLE_COLLECTIONS_PATH": str(folder)}
    elsewhere = Site(machine.home, environment, EVERYTHING, cwd=folder)
    elsewhere.run(
        "ansible-galaxy", "collection", "install", str(artifact),
        "--collections-path", str(folder), "--offline", "--no-deps",
    )  # fmt: skip
    return elsewhere


@pytest.fixture(scope="module")
def workplace(machine: Site, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The same sandbox for somebody with a checkout of their own, to run `make` in."""
    folder = installed_checkout(tmp_path_factory.mktemp("workplace") / "checkout")
    return Site(machine.home, machine.environment, EVERYTHING, cwd=folder)


@pytest.fixture(scope="module")
def build(machine: Site, installed: Site) -> Build:
    """The whole site on a cluster that was empty, run once: by the collection that was installed."""
    machine.variables = EVERYTHING
    built = Build(machine)
    inventory = installed.cwd / COLLECTION / "inventories/sandbox"

    def play(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ("ansible-playbook", "-i", str(inventory), f"streamops.knative.{name}")
        return installed.run(*command, "-e", EVERYTHING, *arguments)

    built.foreseen_without_cluster = play("site", "--check", "--diff").stdout
    play("cluster")
    if shutil.which("kubectl"):
        built.before = machine.everything()
    built.foreseen = play("site", "--check", "--diff").stdout
    done = play("site")
    built.output, built.progress = done.stdout, done.stderr
    return built


@pytest.fixture(scope="module")
def site(build: Build) -> Site:
    """A sandbox with the whole site on it."""
    return build.site
