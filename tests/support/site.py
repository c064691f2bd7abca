"""A sandbox in a folder of its own, and the commands a person runs on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.auth.transport.requests import AuthorizedSession
from google.oauth2.service_account import Credentials

#: What clusters write on their own account, at any time.
VOLATILE = {"events", "events.events.k8s.io", "leases.coordination.k8s.io", "pods.metrics.k8s.io"}
COLUMNS = "custom-columns=A:.apiVersion,K:.kind,S:.metadata.namespace,N:.metadata.name"
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
#: How much longer everything takes with upstream's own probes, back-offs and grace periods.
PATIENCE = 3 if os.environ.get("SANDBOX_CLUSTER_PROGRAM") else 1
TIMEOUT = 300 * PATIENCE
#: What `make` tells those it starts.
OF_MAKE = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
#: Where ansible-galaxy installs the collection.
COLLECTION = Path("ansible_collections/streamops/knative")


@dataclass
class Site:
    """A sandbox in a folder of its own, and the environment in which commands see it."""

    home: Path
    environment: dict[str, str]
    #: Extra variables, as JSON, with which the site was brought up.
    variables: str = "{}"
    #: Where the commands run.
    cwd: Path = ROOT

    def run(
        self, *command: str, check: bool = True, timeout: float = TIMEOUT
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the virtual environment."""
        result = subprocess.run(
            [str(BIN / command[0]) if (BIN / command[0]).exists() else command[0], *command[1:]],
            cwd=self.cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and result.returncode:
            said = f"{result.stdout}{result.stderr}"
            raise AssertionError(f"{' '.join(command)} ended with {result.returncode}\n{said}")
        return result

    def play(
        self, playbook: str, *arguments: str, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a playbook on the sandbox's inventory."""
        return self.run(
            "ansible-playbook", "-i", "inventories/sandbox", playbook, *arguments, **options
        )

    @property
    def state(self) -> dict[str, Any]:
        """What `sandbox up` wrote down."""
        state: dict[str, Any] = json.loads((self.home / "state.json").read_text())
        return state

    def everything(self) -> set[str]:
        """Names of all objects in the cluster, and of the secrets in Secret Manager."""
        kinds = self.run("kubectl", "api-resources", "--verbs=list", "-o", "name").stdout.split()
        wanted = ",".join(sorted(set(kinds) - VOLATILE))
        listed = self.run("kubectl", "get", wanted, "-A", "--no-headers", "-o", COLUMNS).stdout
        return {" ".join(line.split()) for line in listed.splitlines()} | self.secrets()

    def secrets(self) -> set[str]:
        """Names of the secrets in Secret Manager."""
        key = str(self.home / "service-account.json")
        credentials = Credentials.from_service_account_file(key, scopes=[CLOUD_PLATFORM])
        url = f"{self.state['urls']['google']}/v1/projects/sandbox-project/secrets"
        answer = AuthorizedSession(credentials).get(url, timeout=60)
        answer.raise_for_status()
        return {secret["name"] for secret in answer.json().get("secrets", [])}


def recap(output: str) -> dict[str, dict[str, int]]:
    """Counts per host of a PLAY RECAP."""
    lines = output.split("PLAY RECAP", 1)[1].splitlines()[1:]
    counts = {}
    for line in lines:
        host, _, rest = line.partition(":")
        if "=" in rest:
            counts[host.strip()] = {
                key: int(value) for key, value in (pair.split("=") for pair in rest.split())
            }
    return counts


def environment_for(home: Path) -> dict[str, str]:
    """The environment of a person who has activated .venv, with a sandbox of their own."""
    environment = {key: value for key, value in os.environ.items() if key not in OF_MAKE}
    return environment | {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "SANDBOX_HOME": str(home),
        "SANDBOX_PORT": "0",
        "KUBECONFIG": str(home / "kubeconfig"),
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_HOME": str(ROOT / ".cache" / "ansible"),
    }


def checkout(folder: Path) -> Path:
    """A checkout to run `make` in, with nothing installed; its files are links to this one's."""
    (folder / ".cache").mkdir(parents=True)
    ours = {".git", ".venv", ".cache", ".sandbox", "build"}
    for entry in ROOT.iterdir():
        if entry.name not in ours:
            (folder / entry.name).symlink_to(entry)
    return folder


def installed_checkout(folder: Path) -> Path:
    """Like `checkout`, with this one's virtual environment, and what its runs have downloaded."""
    checkout(folder)
    (folder / ".venv").symlink_to(BIN.parent)
    shared = ROOT / ".cache" / "ansible"
    shared.mkdir(parents=True, exist_ok=True)
    (folder / ".cache" / "ansible").symlink_to(shared)
    (folder / ".cache" / "demo.stamp").touch()
    return folder


def changed_tasks(output: str) -> set[str]:
    """Names of the tasks that changed something, or in check mode would."""
    changed, task = set(), ""
    for line in output.splitlines():
        if line.startswith(("TASK [", "RUNNING HANDLER [")):
            task = line.partition("[")[2].rpartition("]")[0]
        elif line.startswith("changed: ["):
            changed.add(task)
    return changed


@contextmanager
def sandbox(home: Path, *arguments: str) -> Iterator[Site]:
    """`sandbox up` with the arguments, and `sandbox down` however it ends."""
    running = Site(home, environment_for(home))
    running.run("sandbox", "up", *arguments)
    try:
        yield running
    finally:
        running.run("sandbox", "down")
