"""One sandbox with the whole site on it, fed with the recorded posts, shared by the tests here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.site import ROOT, Site, sandbox

POSTS = ROOT.parent / "shared" / "x-api" / "recorded-posts.json"


#: The recorded posts carry no language, and some are retweets.
EVERYTHING = json.dumps({"twitter_pipeline_languages": [], "twitter_pipeline_excludes": []})


@pytest.fixture(scope="session")
def posts() -> list[dict[str, Any]]:
    """The recorded posts, as X sent them."""
    if not POSTS.exists():
        pytest.skip("the recorded posts are not beside this checkout")
    recorded: list[dict[str, Any]] = json.loads(POSTS.read_text(encoding="utf-8"))["data"]
    return recorded


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, posts: list[dict[str, Any]]) -> Iterator[Site]:
    """site.yml, run once."""
    with sandbox(tmp_path_factory.mktemp("sandbox"), "--posts", str(POSTS)) as running:
        running.variables = EVERYTHING
        running.play("site.yml", "-e", EVERYTHING)
        yield running
