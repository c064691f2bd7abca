"""Hooks that every test uses."""

import sys
from pathlib import Path

# ansible-test, which does not read pyproject.toml, finds `support` here.
sys.path.append(str(Path(__file__).parent))

import pytest
from hypothesis import settings
from support.needs import pytest_collection_modifyitems
from support.time_budget import pytest_runtest_setup

# The profile has no deadline and fixed examples, so that a slow machine does not fail a test.
settings.load_profile("ci")

__all__ = ["pytest_bdd_apply_tag", "pytest_collection_modifyitems", "pytest_runtest_setup"]


@pytest.hookimpl(optionalhook=True)  # the matrix's environments have no pytest-bdd
def pytest_bdd_apply_tag(tag: str, function: object) -> bool | None:
    """The CloudEvents specification's own tags are no markers of ours."""
    return True if tag == "http" else None
