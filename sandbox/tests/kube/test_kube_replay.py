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


def test_differences_from_the_real_server_are_listed(kubeconfig, tmp_path, capsys):
    found = tmp_path / "differences"
    result = subprocess.run(
        [
            sys.executable,
            str(FOLDER / "replay.py"),
            str(kubeconfig),
            "kubernetes.json",
            "-o",
            str(found),
        ],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    with capsys.disabled():
        print(f"\nreplay: {result.stdout.strip()}")
    total = int(result.stdout.rsplit(" of ", 1)[1])
    pairs = re.findall(r"^\[(\w+)\] ([\w/.-]+): (.*)$", found.read_text(), re.MULTILINE)
    entries = yaml.safe_load(LISTED.read_text())
    # What depends on the moment differs from run to run, so that it is no measure.
    timing = {name for entry in entries if entry.get("timing") for name in entry["cases"]}
    counts = Counter(kind for kind, name, _ in pairs if name not in timing)
    for kinds, part in LIMITS.items():
        assert sum(counts[kind] for kind in kinds) <= part * total, (kinds, counts)
    listed = {name for entry in entries for name in entry["cases"]}
    new = [f"[{kind}] {name}: {request}" for kind, name, request in pairs if name not in listed]
    assert not new, "not listed in replay_differences.yaml:\n" + "\n".join(new)
