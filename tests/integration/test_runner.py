"""Tasks in Ansible's worker behave as module processes, or are module processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.kube import Kube, api_server, config_map, namespace
from support.site import BIN, ROOT

from ansible_collections.streamops.knative.plugins.plugin_utils import _in_process

READ = "streamops.knative.resource_info"
APPLY = "streamops.knative.apply"
NAMESPACES = {READ: {"kind": "Namespace"}}
# Local, under another name: to Ansible, another host.
CONNECTION = '''
DOCUMENTATION = """
name: elsewhere
short_description: A host that is not this one
"""
from ansible.plugins.connection.local import Connection as Local

class Connection(Local):
    transport = "elsewhere"
'''
SUDO = """#!/bin/sh
echo "$@" >>"$(dirname "$0")/sudo.log"
while [ "$1" != /bin/sh ]; do shift; done
exec "$@"
"""


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    with api_server(tmp_path_factory.mktemp("kube")) as running:
        yield running


class Playbook:
    """Runs tasks on localhost and returns what each registered."""

    def __init__(self, folder: Path, kube: Kube) -> None:
        self.folder = folder
        self.variables: dict[str, Any] = {"ansible_python_interpreter": str(BIN / "python")}
        self.environment = os.environ | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests/benchmarks/callback_plugins"),
            "K8S_AUTH_KUBECONFIG": str(kube.kubeconfig),
        }
        self.output = ""

    def command(self, *tasks: dict[str, Any], **play: Any) -> list[str]:
        """The command that runs the tasks, which are written to a file."""
        registered = [
            {"ignore_errors": True, **task, "register": f"r{number}"}
            for number, task in enumerate(tasks)
        ]
        names = ", ".join(f"r{number}" for number in range(len(tasks)))
        saved = {
            "dest": str(self.folder / "results.json"),
            "content": f"{{{{ [{names}] | to_json }}}}",
        }
        registered.append({"ansible.builtin.copy": saved, "check_mode": False})
        host = {"hosts": "localhost", "gather_facts": False, "vars": self.variables}
        playbook = self.folder / "playbook.yml"
        playbook.write_text(json.dumps([{**host, **play, "tasks": registered}]))
        return [str(BIN / "ansible-playbook"), "-i", "localhost,", "-c", "local", str(playbook)]

    def run(self, *tasks: dict[str, Any], **play: Any) -> list[dict[str, Any]]:
        done = subprocess.run(
            self.command(*tasks, **play),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        self.output = done.stdout + done.stderr
        assert done.returncode == 0, self.output
        results: list[dict[str, Any]] = json.loads((self.folder / "results.json").read_text())
        return results

    def script(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path


@pytest.fixture
def playbook(tmp_path: Path, kube: Kube) -> Playbook:
    return Playbook(tmp_path, kube)


@pytest.fixture
def other_python(playbook: Playbook) -> Path:
    """An interpreter that records each start and is otherwise this one."""
    text = f'#!/bin/sh\necho x >>{playbook.folder}/python.log\nexec {sys.executable} "$@"\n'
    return playbook.script("python", text)


def starts(playbook: Playbook) -> int:
    log = playbook.folder / "python.log"
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_async_tasks_run_in_the_background(playbook: Playbook, kube: Kube) -> None:
    apply = {APPLY: {"definition": config_map("background")}}
    polled, started, finished = playbook.run(
        {**NAMESPACES, "async": 60, "poll": 1},
        {**apply, "async": 60, "poll": 0},
        {
            "ansible.builtin.async_status": {"jid": "{{ r1.ansible_job_id }}"},
            "until": "r2.finished",
            "retries": 30,
            "delay": 1,
        },
    )
    assert {"default"} <= {item["metadata"]["name"] for item in polled["resources"]}
    assert started["started"]
    assert finished["counts"] == {"created": 1}
    assert kube.get("v1", "ConfigMap", "background", "default")


def test_another_interpreter_runs_the_module(playbook: Playbook, other_python: Path) -> None:
    (here,) = playbook.run(NAMESPACES)
    assert starts(playbook) == 0
    playbook.variables["ansible_python_interpreter"] = str(other_python)
    (there,) = playbook.run(NAMESPACES)
    assert starts(playbook) > 0
    assert there["resources"] == here["resources"]


def test_the_interpreter_may_be_a_template_or_unknown(playbook: Playbook) -> None:
    playbook.variables["ansible_python_interpreter"] = "{{ ansible_playbook_python }}"
    (result,) = playbook.run(NAMESPACES)
    assert result["resources"]


def test_become_runs_the_module_as_the_other_user(playbook: Playbook) -> None:
    sudo = playbook.script("sudo", SUDO)
    playbook.variables["ansible_become_exe"] = str(sudo)
    playbook.environment["ANSIBLE_BECOME_ALLOW_SAME_USER"] = "true"
    (result,) = playbook.run(
        {**NAMESPACES, "become": True, "become_method": "ansible.builtin.sudo"}
    )
    assert result["resources"]
    assert "-u root" in (playbook.folder / "sudo.log").read_text()


def test_the_environment_of_a_task_is_the_modules(playbook: Playbook, kube: Kube) -> None:
    del playbook.environment["K8S_AUTH_KUBECONFIG"]
    playbook.environment["KUBECONFIG"] = str(playbook.folder / "missing")
    without, given = playbook.run(
        NAMESPACES, {**NAMESPACES, "environment": {"K8S_AUTH_KUBECONFIG": str(kube.kubeconfig)}}
    )
    assert without["failed"]
    assert given["resources"]


def test_a_delegated_task_runs_on_the_other_host(playbook: Playbook, other_python: Path) -> None:
    playbook.script("connection_plugins/elsewhere.py", CONNECTION)
    playbook.script("map.yml", json.dumps(config_map("delegated")))
    del playbook.variables["ansible_python_interpreter"]  # a play's variables win over a host's
    host = {
        "name": "elsewhere",
        "ansible_connection": "elsewhere",
        "ansible_python_interpreter": str(other_python),
    }
    _, result = playbook.run(
        {"ansible.builtin.add_host": host},
        {APPLY: {"files": ["map.yml"]}, "delegate_to": "elsewhere"},
    )
    assert result["counts"] == {"created": 1}, result
    assert starts(playbook) > 0


def test_defaults_of_the_action_group_apply(playbook: Playbook) -> None:
    defaults = {"group/streamops.knative.kubernetes": {"api_version": "v1", "name": "default"}}
    (result,) = playbook.run({READ: {"kind": "Namespace"}}, module_defaults=defaults)
    assert [item["metadata"]["name"] for item in result["resources"]] == ["default"]


#: Options of one module, valid and not.
OPTIONS = {
    "unsupported": {"kind": "Namespace", "unknown": 1},
    "missing": {"name": "default"},
    "type": {"kind": "Namespace", "request_timeout": "soon"},
    "alias": {"kind": "Namespace", "ca_cert": "/a", "ssl_ca_cert": "/b"},
    "no_log": {"kind": "Namespace", "api_key": "s3cret-s3cret", "context": "s3cret-s3cret"},
    "failing": {"kind": "Missing"},
    "working": {"kind": "Namespace"},
}


def test_results_are_those_of_a_module_process(playbook: Playbook, other_python: Path) -> None:
    elsewhere = {"ansible_python_interpreter": str(other_python)}
    results = playbook.run(
        *(
            {READ: options, **more}
            for options in OPTIONS.values()
            for more in ({}, {"vars": elsewhere})
        )
    )
    assert starts(playbook) >= len(OPTIONS)
    for name, here, there in zip(OPTIONS, results[::2], results[1::2], strict=True):
        for result in (here, there):
            result.pop("exception", None)  # the traceback names where it ran
        assert here == there, name
        assert ("Both option" in json.dumps(here.get("warnings"))) == (name == "alias"), name
        assert "s3cret-s3cret" not in json.dumps(here), name
    assert "[WARNING]: Both option" in playbook.output


@pytest.mark.parametrize("empty", ["{# none #}", "\n\n"], ids=["nothing", "newlines"])
def test_a_pipeline_may_have_no_bindings(playbook: Playbook, empty: str) -> None:
    """A text without an object is no problem, and is not masked wherever it occurs."""
    playbook.script("empty.j2", empty)
    playbook.script("base.j2", json.dumps(namespace("unbound")))
    playbook.script("producers.j2", json.dumps(config_map("producer", "unbound")))
    parts = {"base": "base.j2", "bindings": ["empty.j2"], "producers": ["producers.j2"]}
    (made,) = playbook.run({"streamops.knative.pipelines": {**parts, "wait_timeout": 60}})
    assert [item["name"] for item in made["objects"]] == ["unbound", "producer"], made


def test_a_kubeconfig_dictionary_stays_out_of_the_results(playbook: Playbook) -> None:
    config = {"clusters": [], "users": [{"name": "a", "user": {"token": "t0ken-t0ken"}}]}
    (result,) = playbook.run({READ: {"kind": "Namespace", "kubeconfig": config}})
    assert result["failed"]
    assert "t0ken-t0ken" not in json.dumps(result)


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_task_ends_at_its_timeout(playbook: Playbook, silent: str) -> None:
    options = {"host": silent, "kubeconfig": None, "request_timeout": 90, "retry_timeout": 90}
    (result,) = playbook.run({APPLY: {**options, "definition": config_map("a")}, "timeout": 2})
    assert result["failed"]
    assert "timed out" in str(result).lower() or "timeout" in str(result).lower()


def test_ctrl_c_ends_a_playbook_that_waits(playbook: Playbook, kube: Kube) -> None:
    waiting = {
        "definition": config_map("waiting"),
        "wait_conditions": [{"kind": "ConfigMap", "type": "Never"}],
        "wait_timeout": 90,
    }
    running = subprocess.Popen(
        playbook.command({APPLY: waiting}),
        cwd=playbook.folder,
        env=playbook.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert running.stdout is not None
    try:
        for line in running.stdout:
            if "waiting" in line and "[localhost]" in line:
                break
        os.killpg(running.pid, signal.SIGINT)
        running.communicate(timeout=90)
    finally:
        running.kill()
    assert running.returncode != 0


def test_a_signal_waits_for_the_report_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def interrupted(self: Any, text: str, **_options: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        order.append(text)

    monkeypatch.setattr(_in_process.Display, "display", interrupted)
    previous = signal.signal(signal.SIGTERM, lambda *_: order.append("signal"))
    reporter = _in_process._Reporter("host")
    try:
        with reporter.signals():
            reporter.report("first")
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert order == ["[host] first", "signal", "signal"]
