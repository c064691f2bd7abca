"""A running viewer, and events to send to it."""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from apps.event_viewer.viewer_support import OpenStore, Start, Viewer, redis_server, running

from event_viewer.settings import load
from event_viewer.store import open_store
from event_viewer.store.interface import Store


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.needs("redis-server"))])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens a store of each kind; every opening sees the same history."""
    with contextlib.ExitStack() as stack:
        if request.param == "redis":
            address = stack.enter_context(redis_server(tmp_path))
        else:
            address = str(tmp_path / "events.db")

        def open_one(**settings: Any) -> Store:
            given = {key.lower(): str(value) for key, value in settings.items()}
            store = open_store(load(store=address, **given))
            return stack.enter_context(contextlib.closing(store))

        yield open_one


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
