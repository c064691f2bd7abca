"""Run a command in the real lane's namespaces: `python tests/real/lane.py [--cluster FOLDER] -- COMMAND`.

The command gets a network of its own, in which pods and Services can have 10.x addresses (API servers
refuse 127.x), and a process namespace: whatever it starts ends with it, however it ends. As another
user than root that takes a user namespace. With `--cluster` a cluster runs beside the command, which
finds its administrator's kubeconfig in KUBECONFIG.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from build import WHEELS

HERE = Path(__file__).resolve().parent
#: Upstream's release files, beside the checkout.
RELEASES = HERE.parents[2] / "shared" / "knative"
#: Where the sandbox's services listen for pods: an address of the lane itself.
ADDRESS = "10.0.0.1"
_INSIDE = "REAL_LANE"
_PR_SET_PDEATHSIG = 1


def enter() -> int:
    """Run this program again inside the namespaces; returns its exit code."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    # --kill-child: the namespace's first process, and so all of it, ends with unshare, which ends with us.
    spaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    process = subprocess.Popen(
        ["unshare", *user, *spaces, sys.executable, *sys.argv],
        env={**os.environ, _INSIDE: "1"},
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - no other thread runs here
    )

    def end(*_: object) -> None:
        process.kill()  # unshare ignores SIGTERM

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    # Ctrl-C reaches the command itself, which ends in its own way.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = process.wait()
    return code if code >= 0 else 128 - code


def _die_with_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def prepare() -> None:
    """Set up what the namespaces need before a cluster can be made."""
    # Names of network namespaces go to /run/netns, which may not be there or not be ours.
    run = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=False)
    if run.returncode:
        sys.exit("real lane: /run cannot be replaced inside the mount namespace")
    commands = ("link set lo up", f"address add {ADDRESS}/32 dev lo")
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Path]:
    """Run a cluster; yields its kubeconfig."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "cluster.log"
    command = [sys.executable, str(HERE / "cluster.py"), "--folder", str(folder)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output
        )
    try:
        line = process.stdout.readline() if process.stdout else b""
        if line.strip() != b"ready":
            raise SystemExit(f"real lane: the cluster did not start: {log.read_text()[-3000:]}")
        yield folder / "kubeconfig"
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)


def run(options: argparse.Namespace) -> int:
    """Run the command, with a cluster where one is asked for; returns its exit code."""
    environment = {
        **os.environ,
        "SANDBOX_CLUSTER_PROGRAM": str(HERE / "cluster.py"),
        "SANDBOX_ADDRESS": ADDRESS,
        "SANDBOX_RELEASES": str(RELEASES),
        # Nothing outside can be reached: images are built from what build.py has downloaded.
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": f"{WHEELS} {os.environ.get('PIP_FIND_LINKS', '')}".strip(),
    }
    with contextlib.ExitStack() as stack:
        if options.cluster:
            environment["KUBECONFIG"] = str(stack.enter_context(cluster(options.cluster.resolve())))
        process = subprocess.Popen(options.command, env=environment)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda which, _: process.send_signal(which))
        code = process.wait()
    return code if code >= 0 else 128 - code


def main() -> int:
    """Enter the namespaces and run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cluster", type=Path, help="also run a cluster, in this folder")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    if os.environ.pop(_INSIDE, "") != "1":
        return enter()
    prepare()
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
