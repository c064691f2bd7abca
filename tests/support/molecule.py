"""molecule, as people run it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from support.site import BIN, PATIENCE, ROOT

#: Names of the scenarios.
SCENARIOS = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
#: Names of the roles; each has a scenario.
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
#: Before each step molecule runs `ansible-playbook --version`, to see that it is there.
_PLAYBOOK = f"""#!/bin/sh
[ "$*" = --version ] || exec '{BIN}/ansible-playbook' "$@"
"""


def molecule(*arguments: str) -> None:
    """Run molecule, without a sandbox's settings from outside; it must not fail."""
    environment = {k: v for k, v in os.environ.items() if k not in ("SANDBOX_HOME", "SANDBOX_PORT")}
    with tempfile.TemporaryDirectory() as folder:
        playbook = Path(folder) / "ansible-playbook"
        playbook.write_text(_PLAYBOOK)
        playbook.chmod(0o755)
        result = subprocess.run(
            [BIN / "molecule", *arguments],
            cwd=ROOT,
            env=environment | {"PATH": f"{folder}:{BIN}:{environment['PATH']}", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600 * PATIENCE,
            check=False,
        )
    assert result.returncode == 0, result.stdout + result.stderr
