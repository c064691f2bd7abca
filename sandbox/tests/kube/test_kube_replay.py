"""The recorded answers of a real Kubernetes API server, replayed against the sandbox's."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[4] / "shared" / "real"
LISTED = Path(__file__).parent / "replay_differences.yaml"
SECONDS = 600
#: How often a case that is not listed is tried again before it counts.
REPEATS = 3
#: The part of all answers that may differ in so much.
LIMITS = {("status",): 0.01, ("object", "error"): 0.04, ("message",): 0.08}

pytestmark = pytest.mark.skipif(
    not (FOLDER / "replay.py").is_file(), reason=f"needs the recordings in {FOLDER}"
)


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory):
    """An API server with its controllers, as processes of their own: the recording had the same."""
    folder = tmp_path_factory.mktemp("replay")
    module = [sys.executable, "-m"]
    path = folder / "kubeconfig"
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [*module, "streamops_sandbox.kube", "--data-dir", str(folder)], stdout=log, stderr=log
        )
        programs = [server]
        try:
            end = time.monotonic() + 60
            while not path.is_file():
                assert server.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < end
                time.sleep(0.1)
            programs.append(
                subprocess.Popen(
                    [*module, "streamops_sandbox.controllers", "--kubeconfig", str(path)],
                    stdout=log,
                    stderr=log,
                )
            )
            yield path
        finally:
            for program in programs:
                program.terminate()
            for program in programs:
                program.wait(20)


def replay(kubeconfig, folder, *substring):
    """Return the differences of one run, as (kind, case, request), and its line of counts."""
    found = folder / "differences"
    result = subprocess.run(
        [
            sys.executable,
            str(FOLDER / "replay.py"),
            str(kubeconfig),
            "kubernetes.json",
            *substring,
            "-o",
            str(found),
        ],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    pairs = re.findall(r"^\[(\w+)\] ([\w/.-]+): (.*)$", found.read_text(), re.MULTILINE)
    return pairs, result.stdout.strip()


def differs_again(kubeconfig, folder, name):
    """Whether a case differs each time: a controller may write between two of its requests."""
    return all(
        any(case == name for _, case, _ in replay(kubeconfig, folder, name)[0])
        for _ in range(REPEATS)
    )


def test_differences_from_the_real_server_are_listed(kubeconfig, tmp_path, capsys):
    pairs, summary = replay(kubeconfig, tmp_path)
    with capsys.disabled():
        print(f"\nreplay: {summary}")
    total = int(summary.rsplit(" of ", 1)[1])
    entries = yaml.safe_load(LISTED.read_text())
    listed = {name for entry in entries for name in entry["cases"]}
    # What depends on the moment differs from run to run, so that it is no measure.
    timing = {name for entry in entries if entry.get("timing") for name in entry["cases"]}
    unlisted = {name for _, name, _ in pairs if name not in listed}
    timing |= {name for name in unlisted if not differs_again(kubeconfig, tmp_path, name)}
    counts = Counter(kind for kind, name, _ in pairs if name not in timing)
    for kinds, part in LIMITS.items():
        assert sum(counts[kind] for kind in kinds) <= part * total, (kinds, counts)
    new = [
        f"[{kind}] {name}: {request}"
        for kind, name, request in pairs
        if name not in listed | timing
    ]
    assert not new, "not listed in replay_differences.yaml:\n" + "\n".join(new)
