"""kubernetes.core and google.cloud, the collections others wrote, as PyPI's `ansible` bundles them.

Run as a program it fetches them (`make tools` does); they run on the ansible-core of .venv.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
REQUIREMENTS = ROOT / "requirements-peers.txt"
FOLDER = ROOT / ".cache" / "peers"
_STAMP = FOLDER / "installed.txt"
_WANTED = tuple(f"ansible_collections/{name}/" for name in ("kubernetes/core", "google/cloud"))


def are_here() -> bool:
    """Whether they have been fetched, in the version that is wanted now."""
    return _STAMP.exists() and _STAMP.read_text() == REQUIREMENTS.read_text()


def fetch() -> None:
    """Download the package and unpack the two, unless they are here."""
    if are_here():
        return
    print(
        f"Fetching kubernetes.core and google.cloud into {FOLDER.relative_to(ROOT)} ...", flush=True
    )
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=True, timeout=900)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.startswith(_WANTED)]
            archive.extractall(FOLDER, names)
    _STAMP.write_text(REQUIREMENTS.read_text())


def ansible_playbook() -> Path:
    """`ansible-playbook` for a playbook that uses them; run it with `environment()`."""
    fetch()
    return BIN / "ansible-playbook"


def environment() -> dict[str, str]:
    """The environment a peer runs in: nothing of this checkout's configuration."""
    settings = FOLDER / "ansible.cfg"  # empty: without one, the checkout's own would be found
    settings.touch()
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
    return clean | {
        "ANSIBLE_COLLECTIONS_PATH": str(FOLDER),
        "ANSIBLE_CONFIG": str(settings),
        "ANSIBLE_HOME": str(FOLDER / "home"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }


if __name__ == "__main__":
    fetch()
