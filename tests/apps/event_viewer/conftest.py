"""A running viewer, and events to send to it."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from apps.event_viewer.viewer_support import Start, Viewer, running


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts viewers with settings of the test's own."""
    with running(tmp_path) as starter:
        yield starter


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    """One viewer for a whole module: tests use sources of their own."""
    with running(tmp_path_factory.mktemp("viewer")) as starter:
        yield starter()


@pytest.fixture
def event(request: pytest.FixtureRequest) -> Callable[..., dict[str, Any]]:
    """Makes events whose source is the test's own."""
    source = "/test/" + urllib.parse.quote(request.node.name, safe="")

    def make(event_id: Any = 1, **members: Any) -> dict[str, Any]:
        event = {"specversion": "1.0", "id": str(event_id), "source": source, "type": "test"}
        return {name: value for name, value in {**event, **members}.items() if value is not None}

    return make


def pytest_addoption(parser: pytest.Parser) -> None:
    """With `--screenshots` the browser test writes docs/images."""
    parser.addoption("--screenshots", action="store_true", help="write docs/images/viewer-*.png")
