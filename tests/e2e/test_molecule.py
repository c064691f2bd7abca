"""The molecule scenarios that are not of one role: the whole site, an upgrade, other clusters."""

from __future__ import annotations

import pytest
from support.molecule import ROLES, SCENARIOS, molecule

#: Not run here: needs Docker.
ELSEWHERE = "kind"


@pytest.mark.timeout(700)
@pytest.mark.parametrize("scenario", sorted({*SCENARIOS} - {*ROLES, ELSEWHERE}))
def test_scenario(scenario: str) -> None:
    """Create, converge, idempotence, verify, destroy, each on a sandbox of its own."""
    molecule("test", "--scenario-name", scenario)


def test_the_scenario_for_docker_is_well_formed() -> None:
    molecule("syntax", "--scenario-name", ELSEWHERE)
