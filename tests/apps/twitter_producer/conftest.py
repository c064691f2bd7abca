"""Fixtures of the producer's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import producer_kit
import pytest


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[producer_kit.Kit]:
    with producer_kit.kit(tmp_path) as made:
        yield made
