"""The molecule scenario of each role. A file of its own, so that it runs beside the others."""

from __future__ import annotations

import pytest
from support.molecule import ROLES, molecule
from support.site import PATIENCE


@pytest.mark.timeout(700 * PATIENCE)
@pytest.mark.parametrize("role", ROLES)
def test_role(role: str) -> None:
    """Create, converge, idempotence, verify, destroy, each on a sandbox of its own."""
    molecule("test", "--scenario-name", role)
