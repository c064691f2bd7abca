"""A virtual environment with the collections that others wrote, apart from ours."""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

from benchmarks._harness import ROOT

VENV = ROOT / ".cache" / "bench-venv"


def ansible_playbook() -> Path:
    """`ansible-playbook` that has kubernetes.core and google.cloud; installed at the first call."""
    requirements = ROOT / "requirements-bench.txt"
    stamp = VENV / "installed.txt"
    if not stamp.exists() or stamp.read_text() != requirements.read_text():
        print(f"Installing the peers into {VENV.relative_to(ROOT)} ...", flush=True)
        venv.create(VENV, with_pip=True, clear=True)
        pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "-r", str(requirements)], check=True, timeout=900)
        stamp.write_text(requirements.read_text())
    return VENV / "bin" / "ansible-playbook"


def environment() -> dict[str, str]:
    """The environment a peer runs in: nothing of this checkout's configuration."""
    settings = VENV / "ansible.cfg"  # empty: without one, the checkout's own would be found
    settings.touch()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "VIRTUAL_ENV"))}
    return clean | {
        "ANSIBLE_HOME": str(ROOT / ".cache" / "bench-ansible"),
        "ANSIBLE_CONFIG": str(settings),
        "ANSIBLE_PYTHON_INTERPRETER": str(VENV / "bin" / "python"),
        "PATH": f"{VENV / 'bin'}:{os.environ['PATH']}",
    }
