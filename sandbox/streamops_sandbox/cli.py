"""`sandbox up`, `down` and `status`."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from streamops_sandbox import control_socket
from streamops_sandbox.clusters import last_line
from streamops_sandbox.home import MARK, Home, SandboxError, State
from streamops_sandbox.node import reaper

DEFAULT_PORT = 18970
_START_SECONDS = 120.0
_STOP_SECONDS = 30.0


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    os.umask(0o077)
    options = _parser().parse_args(arguments)
    home = Home(options.home)
    try:
        if options.command == "up":
            return _up(home, options)
        if options.command == "down":
            return _remove_clusters(home, options.cluster) if options.cluster else _down(home)
        return _status(home, as_json=options.json)
    except SandboxError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    except PermissionError as error:
        print(f"sandbox: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sandbox", description=sys.modules["streamops_sandbox"].__doc__
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the sandbox, if it does not run")
    down = commands.add_parser("down", help="stop it with everything that runs in it")
    status = commands.add_parser("status", help="tell what runs; exit code 3 where nothing does")
    for command in (up, down, status):
        command.add_argument(
            "--home",
            type=Path,
            default=Path(os.environ.get("SANDBOX_HOME") or ".sandbox"),
            help="the sandbox's folder (default: SANDBOX_HOME, or .sandbox here)",
        )
    for command, does in (
        (up, "also start a cluster without Google's part in it"),
        (down, "stop only this cluster, which 'up --cluster' has started"),
    ):
        command.add_argument(
            "--cluster",
            action="append",
            default=[],
            metavar="NAME",
            help=f"{does}; may be repeated",
        )
    up.add_argument(
        "--port",
        type=_port,
        help="first of four ports for Google, X, registry and releases; 0: any free ones "
        f"(default: SANDBOX_PORT, or {DEFAULT_PORT})",
    )
    up.add_argument("--posts", type=Path, metavar="FILE", help="posts X serves, as JSON")
    status.add_argument("--json", action="store_true", help="as JSON, like state.json")
    return parser


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65532:
        raise ValueError(text)
    return number


# -- up --------------------------------------------------------------------------------------------


def _up(home: Home, options: argparse.Namespace) -> int:
    if options.posts and not options.posts.is_file():
        raise SandboxError(f"--posts {options.posts}: there is no such file")
    with home.lock():
        state = home.read_state()
        if state is not None and home.running:
            state = _adjust(home, state, options)
        else:
            _end_stray_processes(home)
            _start(home, options)
            state = home.read_state()
    if state is None:
        raise SandboxError(f"the sandbox ended right after its start; see {home.logs}")
    _print(state)
    return 0


def _adjust(home: Home, state: State, options: argparse.Namespace) -> State:
    """Make a running sandbox what was asked for, or say why it cannot be."""
    wanted = _wanted_port(options.port) if options.port is not None else state["port"]
    if wanted not in (0, state["port"]):
        raise SandboxError(
            f"already up in {home.path} with --port {state['port']}: run 'sandbox down' first "
            "to change that."
        )
    for name in options.cluster:
        if name not in state["clusters"]:
            state = _control(home, "POST", "/clusters", {"name": name}, _START_SECONDS)
    return state


def _wanted_port(option: int | None) -> int:
    if option is not None:
        return option
    text = os.environ.get("SANDBOX_PORT") or str(DEFAULT_PORT)
    try:
        return _port(text)
    except ValueError:
        raise SandboxError(f"SANDBOX_PORT={text!r}: a number from 0 to 65532 is needed") from None


def _start(home: Home, options: argparse.Namespace) -> None:
    home.logs.mkdir(parents=True, exist_ok=True)
    log = home.logs / "supervisor.log"
    command = [
        *(sys.executable, "-m", "streamops_sandbox.supervisor", "--home", str(home.path)),
        *("--port", str(_wanted_port(options.port))),
    ]
    for name in options.cluster:
        command += ["--cluster", name]
    if options.posts:
        command += ["--posts", str(options.posts.resolve())]
    # The package may run from a folder that is not installed.
    environment = {"PYTHONPATH": str(Path(__file__).parent.parent), MARK: home.id}
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd="/",
            env=os.environ | environment,
            start_new_session=True,
        )
    assert process.stdout is not None
    try:
        with process.stdout as report:
            # Its one line; there is none where it ended, or was too slow.
            ready, _, _ = select.select([report], [], [], _START_SECONDS)
            line = report.readline() if ready else b""
            answer = json.loads(line) if line else None
    except BaseException:  # Ctrl-C, too: nothing half started stays
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:  # on a busy machine it may still be starting clusters
            _end_stray_processes(home)
            process.wait()
        raise
    if answer is None:
        process.kill()
        process.wait()
        _end_stray_processes(home)
        raise SandboxError(f"the sandbox did not start; {log} ends with: {last_line(log)}")
    if "error" in answer:
        process.wait(_STOP_SECONDS)
        raise SandboxError(answer["error"])


# -- down ------------------------------------------------------------------------------------------


def _down(home: Home) -> int:
    if not home.path.exists():
        print(f"Nothing runs in {home.path}.")
        return 0
    with home.lock():
        if running := home.running:
            with contextlib.suppress(SandboxError):
                _control(home, "POST", "/stop", {}, 5.0)
            deadline = time.monotonic() + _STOP_SECONDS
            while home.running and time.monotonic() < deadline:
                time.sleep(0.05)
        strays = _end_stray_processes(home)
        home.state_file.unlink(missing_ok=True)
        home.socket.unlink(missing_ok=True)
    print("The sandbox is down." if running or strays else f"Nothing runs in {home.path}.")
    return 0


def _remove_clusters(home: Home, names: Sequence[str]) -> int:
    with home.lock():
        state = home.read_state()
        if state is None or not home.running:
            print(f"Nothing runs in {home.path}.")
            return 0
        for name in names:
            state = _control(home, "DELETE", "/clusters", {"name": name}, _STOP_SECONDS)
    _print(state)
    return 0


def _end_stray_processes(home: Home) -> bool:
    """End what a crash left behind; True where there was something."""
    found = bool(reaper.find(MARK, home.id))
    if not reaper.reap(MARK, home.id):
        pids = ", ".join(str(pid) for pid in reaper.find(MARK, home.id))
        raise SandboxError(f"processes {pids} of this sandbox could not be ended")
    return found


# -- status ----------------------------------------------------------------------------------------


def _status(home: Home, *, as_json: bool) -> int:
    state = home.read_state()
    if state is None or not home.running:
        if as_json:
            print(json.dumps({"home": str(home.path), "running": False}))
        elif state is not None:
            print(f"The sandbox in {home.path} crashed: 'sandbox up' starts it again.")
        else:
            print(f"Nothing runs in {home.path}: 'sandbox up' starts it.")
        return 3
    state = _control(home, "GET", "/status", None, 10.0)
    if as_json:
        print(json.dumps({"running": True, **state}, indent=2))
    else:
        _print(state)
    return 0


def _print(state: State) -> None:
    print(f"The sandbox is up. Home: {state['home']}")
    for name, url in state["urls"].items():
        print(f"  {name:<10}{url}")
    for name, cluster in state["clusters"].items():
        print(f"  cluster {name}: {cluster['url']}, kubeconfig {cluster['kubeconfig']}")


# -- control ---------------------------------------------------------------------------------------


def _control(home: Home, method: str, path: str, body: State | None, seconds: float) -> State:
    try:
        status, answer = control_socket.call(home, method, path, body, seconds=seconds)
    except (OSError, http.client.HTTPException) as error:
        raise SandboxError(
            f"the sandbox in {home.path} does not answer ({error}): run 'sandbox down', then "
            "'sandbox up'."
        ) from None
    if status >= 500:
        raise SandboxError(f"{method} {path} failed; see {home.logs / 'supervisor.log'}")
    if status != 200:
        raise SandboxError(answer["error"])
    state: State = answer
    return state
