"""`make demo` where something is in its way, or somebody changes their mind."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import HEEDING_CTRL_C, processes_mentioning
from support.sandbox import until
from support.site import checkout, environment_for, installed_checkout


@pytest.fixture
def bare_folder(tmp_path: Path) -> Path:
    """A checkout in which nothing is installed."""
    return checkout(tmp_path / "checkout")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A checkout with everything installed, and no sandbox in it in the end."""
    made = installed_checkout(tmp_path / "checkout")
    yield made
    assert make(made, "down") == (0, [])


def make(folder: Path, *arguments: str, **environment: str) -> tuple[int, list[str]]:
    """Run make in a checkout: its exit code, and what it says went wrong, without make's own line."""
    done = subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env=environment_for(folder / ".sandbox") | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    lines = done.stderr.splitlines()
    return done.returncode, [line for line in lines if not line.startswith("make: ***")]


@pytest.mark.parametrize("moment", ["Starting the sandbox", "The sandbox is up", "CREATE_CLUSTER"])
def test_interrupted_demo_leaves_no_process(folder: Path, moment: str) -> None:
    with subprocess.Popen(
        [*HEEDING_CTRL_C, "make", "demo"],
        cwd=folder,
        env=environment_for(folder / ".sandbox"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        said = ""
        for line in demo.stdout:
            said += line
            if moment in line:
                os.killpg(demo.pid, signal.SIGINT)  # as a terminal does: to all that run in it
                break
        rest, _ = demo.communicate(timeout=240)
    assert demo.returncode != 0, said + rest
    assert "Interrupted: stopping the sandbox." in rest
    until(lambda: not processes_mentioning(str(folder)), "no process is left")


def test_second_demo_is_told_that_one_runs(folder: Path) -> None:
    with (folder / ".cache" / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, (line,) = make(folder, "demo")
    assert code != 0
    assert line.startswith("Another 'make demo' runs in this checkout: wait for it, or")


def test_port_in_use(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        code, (line,) = make(folder, "demo", SANDBOX_PORT=port)
    assert code != 0
    assert f"port {port} (for google) is in use" in line
    assert "SANDBOX_PORT" in line
    assert not processes_mentioning(str(folder))


@pytest.mark.parametrize(
    ("python", "told"),
    [
        ("python3.99", "python3.99 is not installed. Install Python 3.11 or newer, or name one"),
        ("./old", "Python 3.10.1 is too old: 3.11 or newer is needed. Name another one"),
    ],
)
def test_python_that_does_not_do(bare_folder: Path, python: str, told: str) -> None:
    old = bare_folder / "old"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.10.1\nexit 1\n')
    old.chmod(0o755)
    code, (line,) = make(bare_folder, "demo", f"PYTHON={python}")
    assert code != 0
    assert line.startswith(told)


def test_half_built_environment_is_built_again(bare_folder: Path) -> None:
    """Its Python is gone, but a stamp says it was complete; without an index it fails again."""
    (bare_folder / ".venv" / "bin").mkdir(parents=True)
    (bare_folder / ".venv" / "bin" / "python").symlink_to("/nowhere/python3")
    (bare_folder / ".cache" / "demo.stamp").touch()
    no_index = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    code, lines = make(bare_folder, "demo", **no_index)
    assert code != 0
    assert lines[-1].startswith("pip could not install what is needed.")
    assert (bare_folder / ".venv" / "bin" / "pip").exists()
    assert not (bare_folder / ".cache" / "demo.stamp").exists()


def test_down_needs_no_environment(bare_folder: Path) -> None:
    assert make(bare_folder, "down") == (0, [])
