"""The molecule scenarios, as people run them."""

from __future__ import annotations

import os
import subprocess

import pytest
from support.site import BIN, ROOT


@pytest.mark.timeout(700)
@pytest.mark.parametrize("scenario", ["twitter_pipeline"])
def test_scenario(scenario: str) -> None:
    """Create, converge, idempotence, verify, destroy, each on a sandbox of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SANDBOX_")}
    result = subprocess.run(
        [BIN / "molecule", "test", "--scenario-name", scenario],
        cwd=ROOT,
        env=environment | {"PATH": f"{BIN}:{environment['PATH']}", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
