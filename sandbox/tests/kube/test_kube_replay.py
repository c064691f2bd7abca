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
SECONDS = 170
#: A difference in the replay's output: its kind, case and request, and the fields below it.
DIFFERENCE = r"^\[(\w+)\] ([\w/.-]+): (.*)((?:\n    .*)*)"
#: Written by a workload's controller between two requests of a case, or after them.
CONTROLLERS = (".status", ".metadata.annotations")
#: A controller that writes between two requests of a case spoils a run, hardly two in a row.
RUNS = 3
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
                program.wait(90)


def replay(kubeconfig, folder):
    """Return the differences of one run, as (kind, case, request), and its line of counts."""
    found = folder / "differences"
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
    pairs = [
        (kind, name, request)
        for kind, name, request, details in re.findall(DIFFERENCE, found.read_text(), re.MULTILINE)
        if not _is_of_controllers(details)
    ]
    return pairs, result.stdout.strip()


def _is_of_controllers(details):
    """Whether only fields differ that controllers write, at a moment of their own."""
    fields = re.findall(r"^    (\S+?): real ", details, re.MULTILINE)
    return bool(fields) and all(field.startswith(CONTROLLERS) for field in fields)


def problems(kubeconfig, folder):
    """Return one run's line of counts, and what is wrong with it."""
    pairs, summary = replay(kubeconfig, folder)
    total = int(summary.rsplit(" of ", 1)[1])
    entries = yaml.safe_load(LISTED.read_text())
    listed = {name for entry in entries for name in entry["cases"]}
    # What depends on the moment differs from run to run, so that it is no measure.
    timing = {name for entry in entries if entry.get("timing") for name in entry["cases"]}
    counts = Counter(kind for kind, name, _ in pairs if name not in timing)
    wrong = [
        f"{' and '.join(kinds)}: {sum(counts[kind] for kind in kinds)} of {total} differ"
        for kinds, part in LIMITS.items()
        if sum(counts[kind] for kind in kinds) > part * total
    ]
    wrong += [
        f"not listed in {LISTED.name}: [{kind}] {name}: {request}"
        for kind, name, request in pairs
        if name not in listed
    ]
    return summary, wrong


@pytest.mark.timeout(RUNS * 180)
def test_differences_from_the_real_server_are_listed(kubeconfig, tmp_path, capsys):
    for _ in range(RUNS):
        summary, wrong = problems(kubeconfig, tmp_path)
        with capsys.disabled():
            print(f"\nreplay: {summary}")
        if not wrong:
            return
    pytest.fail("\n".join(wrong))
