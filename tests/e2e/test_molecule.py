"""The molecule scenarios, as people run them."""

from __future__ import annotations

import os
import subprocess

import pytest
from support.site import BIN, ROOT

SCENARIOS = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
#: Not run here: needs Docker.
ELSEWHERE = "kind"


def molecule(*arguments: str) -> None:
    """Run molecule, without a sandbox's settings from outside; it must not fail."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SANDBOX_")}
    result = subprocess.run(
        [BIN / "molecule", *arguments],
        cwd=ROOT,
        env=environment | {"PATH": f"{BIN}:{environment['PATH']}", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.timeout(700)
@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != ELSEWHERE])
def test_scenario(scenario: str) -> None:
    """Create, converge, idempotence, verify, destroy, each on a sandbox of its own."""
    molecule("test", "--scenario-name", scenario)


def test_the_scenario_for_docker_is_well_formed() -> None:
    molecule("syntax", "--scenario-name", ELSEWHERE)
