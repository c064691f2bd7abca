"""Google's stand-in for these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.google import Google, google_sandbox


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    """One for a whole file: tests use names of their own."""
    with google_sandbox(tmp_path_factory.mktemp("google")) as running:
        yield running


@pytest.fixture
def new_google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    """One for a single test, with no service enabled, as in a new project."""
    with google_sandbox(tmp_path_factory.mktemp("google"), services=()) as running:
        yield running
