"""`sandbox up`, `down` and `status`, with everything that may be in their way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import HEEDING_CTRL_C, processes_mentioning
from support.sandbox import (
    Cluster,
    sandbox,
    state_of,
    until,
)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder for a sandbox, which is stopped afterwards."""
    path = tmp_path / "home"
    yield path
    sandbox("down", home=path, check=False)


def pids(state: dict) -> list[int]:
    return list(state["pids"].values())


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def listening(url: str) -> bool:
    host, _, port = url.rpartition("/")[2].partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_up_tells_where_things_are_and_down_leaves_nothing(home: Path) -> None:
    result = sandbox("up", "--port", "0", "--cluster", "one", home=home)
    state = state_of(home)
    assert set(state["urls"]) == {"google", "x", "registry", "releases", "networks"}
    for text in (*state["urls"].values(), state["clusters"]["one"]["kubeconfig"]):
        assert text in result.stdout
    assert all(listening(url) for url in state["urls"].values())
    cluster = Cluster("one", state)
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}},
    )
    until(lambda: cluster.list("v1", "ServiceAccount", "x"), "the service account")
    cluster.apply(cluster.python_pod("p", "x", "import time; time.sleep(600)"))
    cluster.wait_for_pod("p", "x", lambda s: s.get("phase") == "Running", "running")

    assert sandbox("down", home=home).stdout == "The sandbox is down.\n"
    assert not any(alive(pid) for pid in pids(state))
    urls = [*state["urls"].values(), state["clusters"]["one"]["url"]]
    assert not any(listening(url) for url in urls)
    assert not processes_mentioning(str(home))
    assert not (home / "state.json").exists()
    assert sandbox("down", home=home).stdout.startswith("Nothing runs")


def test_up_again_changes_nothing_and_may_add_a_cluster_that_down_takes_away(home: Path) -> None:
    first = sandbox("up", "--port", "0", home=home)
    before = state_of(home)
    assert sandbox("up", "--port", "0", home=home).stdout == first.stdout
    assert state_of(home) == before
    sandbox("up", "--cluster", "late", home=home)
    after = state_of(home)
    assert after["urls"] == before["urls"]
    assert Cluster("late", after).list("v1", "Node")
    assert "cluster late" not in sandbox("down", "--cluster", "late", home=home).stdout
    assert state_of(home) == before
    assert not listening(after["clusters"]["late"]["url"])
    gone = sandbox("down", "--cluster", "late", home=home, check=False)
    assert gone.stderr == "sandbox: --cluster late: there is no such cluster; running: none\n"
    refused = sandbox("up", "--port", "18999", home=home, check=False)
    assert refused.returncode == 1
    assert "sandbox down" in refused.stderr


def test_up_holds_no_pipe_and_no_session_of_its_caller(home: Path) -> None:
    command = f"{sys.executable} -m streamops_sandbox up --port 0 --home {home} | cat"
    result = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=120, check=True
    )
    assert "The sandbox is up" in result.stdout
    supervisor = state_of(home)["pids"]["supervisor"]
    assert os.getsid(supervisor) == supervisor
    files = {os.readlink(f"/proc/{supervisor}/fd/{number}") for number in (0, 1, 2)}
    assert files == {"/dev/null", str(home / "logs" / "supervisor.log")}


def test_status_for_people_and_for_programs(home: Path) -> None:
    result = sandbox("status", "--json", home=home, check=False)
    assert result.returncode == 3
    assert json.loads(result.stdout) == {"home": str(home), "running": False}
    sandbox("up", "--port", "0", home=home)
    result = sandbox("status", "--json", home=home)
    assert json.loads(result.stdout) == {"running": True, **state_of(home)}
    assert state_of(home)["urls"]["google"] in sandbox("status", home=home).stdout


def test_a_port_in_use_is_named_with_the_option_that_changes_it(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        result = sandbox("up", "--port", str(port), home=home, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert f"port {port} (for google) is in use" in line
    assert "--port" in line
    assert not processes_mentioning(str(home))


def test_bad_input_is_refused_in_one_line(home: Path, tmp_path: Path) -> None:
    missing = sandbox("up", "--posts", str(tmp_path / "no.json"), home=home, check=False)
    assert missing.stderr == f"sandbox: --posts {tmp_path / 'no.json'}: there is no such file\n"
    posts = tmp_path / "posts.json"
    posts.write_text("{]")
    broken = sandbox("up", "--port", "0", "--posts", str(posts), home=home, check=False)
    assert broken.returncode == 1
    assert len(broken.stderr.splitlines()) == 1
    assert str(posts) in broken.stderr
    name = sandbox("up", "--port", "0", "--cluster", "Not_A_Name", home=home, check=False)
    assert name.returncode == 1
    assert "Not_A_Name" in name.stderr
    assert not processes_mentioning(str(home))


def test_a_second_up_at_the_same_time_is_told_so(home: Path) -> None:
    command = [sys.executable, "-m", "streamops_sandbox", "up", "--port", "0", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        until((home / "lock").exists, "the lock")
        second = sandbox("up", "--port", "0", home=home, check=False)
        assert first.wait(180) == 0
    if second.returncode:  # else the first one was done already
        assert "another 'sandbox up'" in second.stderr
    assert len(processes_mentioning(f"streamops_sandbox.supervisor\0--home\0{home}")) == 1


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_an_interrupted_up_leaves_nothing(home: Path, number: int, code: int) -> None:
    command = [sys.executable, "-m", "streamops_sandbox", "up", "--port", "0", "--cluster", "one"]
    with subprocess.Popen(
        [*HEEDING_CTRL_C, *command, "--home", str(home)], stderr=subprocess.PIPE, text=True
    ) as process:
        until(
            lambda: processes_mentioning(f"streamops_sandbox.supervisor\0--home\0{home}"),
            "the supervisor",
        )
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (code, "")
    until(lambda: not processes_mentioning(str(home)), "no process")
    assert not (home / "state.json").exists()


@pytest.mark.parametrize("command", ["up", "down"])
def test_a_killed_supervisor_takes_everything_with_it(home: Path, command: str) -> None:
    sandbox("up", "--port", "0", "--cluster", "one", home=home)
    state = state_of(home)
    cluster = Cluster("one", state)
    until(lambda: cluster.list("v1", "ServiceAccount", "default"), "the service account")
    cluster.apply(cluster.python_pod("p", "default", "import time; time.sleep(600)"))
    cluster.wait_for_pod("p", "default", lambda s: s.get("phase") == "Running", "running")
    os.kill(state["pids"]["supervisor"], signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in pids(state)), "the clusters' end")
    until(lambda: not processes_mentioning(f"{home}/clusters"), "the pods' end")
    assert "crashed" in sandbox("status", home=home, check=False).stdout
    if command == "up":
        sandbox("up", "--port", "0", "--cluster", "one", home=home)
        assert Cluster("one", state_of(home)).list("v1", "Node")
    else:
        sandbox("down", home=home)
        assert not (home / "state.json").exists()


def test_a_killed_cluster_leaves_no_pod_behind(home: Path) -> None:
    sandbox("up", "--port", "0", "--cluster", "one", home=home)
    state = state_of(home)
    cluster = Cluster("one", state)
    until(lambda: cluster.list("v1", "ServiceAccount", "default"), "the service account")
    cluster.apply(cluster.python_pod("p", "default", "import time; time.sleep(600)"))
    cluster.wait_for_pod("p", "default", lambda s: s.get("phase") == "Running", "running")
    os.kill(state["pids"]["one"], signal.SIGKILL)
    until(lambda: not processes_mentioning(f"{home}/clusters/one"), "the pod's end")
    until(lambda: "one" not in state_of(home)["clusters"], "the state to tell")
    assert listening(state["urls"]["registry"])


def test_a_pid_that_is_another_process_now_is_left_alone(home: Path) -> None:
    home.mkdir(mode=0o700)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        stale = {
            "home": str(home),
            "port": 0,
            "urls": {},
            "clusters": {},
            "pids": {"supervisor": stranger.pid},
        }
        (home / "state.json").write_text(json.dumps(stale))
        sandbox("down", home=home)
        time.sleep(0.1)
        assert stranger.poll() is None
        stranger.kill()
