"""From a checkout, from the installed artifact, and as a dependency of another repository.

Each brings the site up, again without a change, verifies it and takes it down, on one sandbox. tests/matrix.sh runs
this with the oldest and the newest ansible-core.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from support.site import COLLECTION, ROOT, Site, recap, sandbox

SANDBOX = ROOT / "inventories/sandbox"
CONFIRMED = ("-e", "teardown_confirm=yes")
#: Counts of a host, by playbook and arguments.
Play = Callable[..., dict[str, int]]

ANSIBLE_CFG = """
[defaults]
inventory = inventory
collections_path = collections
callback_plugins = callbacks
stdout_callback = run_json
callbacks_enabled = ansible.builtin.junit
strategy = ansible.builtin.free
forks = 3
gathering = smart
any_errors_fatal = true
[privilege_escalation]
become = true
become_user = nobody
"""
#: Hosts that are no clusters, and a way to all of them that is none for ours.
HOSTS = {
    "all": {
        "vars": {
            "ansible_connection": "ssh",
            "ansible_host": "unreachable.example.invalid",
            "ansible_become": True,
            "ansible_python_interpreter": "/opt/remote/bin/python9",
        },
        "children": {
            "web": {"hosts": {"web1": None}},
            "platform": {"hosts": {"sandbox": None}},
        },
    }
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A sandbox with nothing on it."""
    with sandbox(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture(scope="module")
def artifact(machine: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `ansible-galaxy collection build` makes."""
    folder = tmp_path_factory.mktemp("artifact")
    machine.run("ansible-galaxy", "collection", "build", "--output-path", str(folder))
    (made,) = folder.glob("streamops-knative-*.tar.gz")
    return made


def checkout(machine: Site, _artifact: Path, _folder: Path) -> Play:
    """Playbooks by their paths."""

    def play(name: str, *arguments: str) -> dict[str, int]:
        path = "site.yml" if name == "site" else f"playbooks/{name}.yml"
        return recap(machine.play(path, *arguments).stdout)["sandbox"]

    return play


def installed(machine: Site, artifact: Path, folder: Path) -> Play:
    """Playbooks by their names; no ansible.cfg."""
    _install(machine, folder, str(artifact), folder)
    environment = machine.environment | {"ANSIBLE_COLLECTIONS_PATH": str(folder)}
    elsewhere = Site(machine.home, environment, cwd=folder)
    inventory = str(folder / COLLECTION / "inventories/sandbox")

    def play(name: str, *arguments: str) -> dict[str, int]:
        command = ("ansible-playbook", "-i", inventory, f"streamops.knative.{name}")
        return recap(elsewhere.run(*command, *arguments).stdout)["sandbox"]

    return play


def dependency(machine: Site, artifact: Path, folder: Path) -> Play:
    """Playbooks imported by a repository that has an ansible.cfg of its own."""
    (folder / "ansible.cfg").write_text(ANSIBLE_CFG)
    requirements = {"collections": [{"name": str(artifact), "type": "file"}]}
    _write(folder / "collections/requirements.yml", requirements)
    _install(machine, folder, "-r", "collections/requirements.yml", folder / "collections")
    (folder / "callbacks").mkdir()
    shutil.copy(Path(__file__).parent / "callback_run_json.py", folder / "callbacks/run_json.py")
    _write(folder / "inventory/hosts.yml", HOSTS)
    (folder / "inventory/group_vars").mkdir()
    variables = SANDBOX / "group_vars/knative_clusters.yml"
    shutil.copy(variables, folder / "inventory/group_vars/platform.yml")
    for name in ("site", "verify", "teardown"):
        imported = {
            "name": f"Run {name} on the platform's clusters",
            "import_playbook": f"streamops.knative.{name}",
            "vars": {"target": "platform"},
        }
        _write(folder / f"{name}.yml", [imported])
    environment = machine.environment | {"JUNIT_OUTPUT_DIR": str(folder / "junit")}
    repository = Site(machine.home, environment, cwd=folder)

    def play(name: str, *arguments: str) -> dict[str, int]:
        done = repository.run("ansible-playbook", f"{name}.yml", *arguments)
        document = json.loads(done.stdout)  # nothing else is on standard output
        counts: dict[str, dict[str, int]] = document["stats"]
        assert set(counts) == {"sandbox"}
        return {"changed": counts["sandbox"]["changed"], "failed": counts["sandbox"]["failures"]}

    return play


def _install(machine: Site, cwd: Path, *arguments: str | Path) -> None:
    *what, where = (str(argument) for argument in arguments)
    command = ("ansible-galaxy", "collection", "install", "--offline", "--no-deps")
    Site(machine.home, machine.environment, cwd=cwd).run(*command, *what, "-p", where)


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


@pytest.mark.timeout(400)
@pytest.mark.parametrize("way", [checkout, installed, dependency], ids=lambda way: way.__name__)
def test_up_again_verified_and_down(
    way: Callable[[Site, Path, Path], Play], machine: Site, artifact: Path, tmp_path: Path
) -> None:
    play = way(machine, artifact, tmp_path)
    up = play("site")
    assert (up["changed"] > 0, up["failed"]) == (True, 0)
    again = play("site")
    assert (again["changed"], again["failed"]) == (0, 0)
    assert play("verify")["failed"] == 0
    down = play("teardown", *CONFIRMED)
    assert (down["changed"] > 0, down["failed"]) == (True, 0)
