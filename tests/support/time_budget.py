"""A time budget for a test run: what would begin after it is skipped, by name."""

from __future__ import annotations

import os
import time

import pytest

_BEGUN = time.monotonic()
#: Seconds after which no test begins; without it there is no limit.
_SECONDS = float(os.environ.get("TEST_SECONDS") or "inf")


@pytest.hookimpl(tryfirst=True)  # before fixtures, which may start a cluster
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the test if the budget is used up."""
    if time.monotonic() - _BEGUN > _SECONDS:
        # Pytest's summary shows where a skip was raised, which is here for all of them.
        pytest.skip(f"{item.nodeid}: the time budget of {_SECONDS:g} s (TEST_SECONDS) is used up")
