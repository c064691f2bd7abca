"""SinkBindings beside the recordings of a real Knative Eventing, each step followed until it settled."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[4] / "shared"
RECORDING = SHARED / "real" / "sinkbinding.json"
#: Stories that may settle to something else than what was recorded.
MOST_DIFFERENT = 3
#: On a busy machine a story may not have settled when it is looked at.
RUNS = 2

pytestmark = [
    pytest.mark.needs("kubectl"),
    pytest.mark.skipif(not RECORDING.is_file(), reason=f"no recording at {RECORDING}"),
]


@pytest.mark.timeout(600)
def test_bindings_settle_to_what_real_knative_settles_to(recorded_cluster):
    names = [case["name"] for case in json.loads(RECORDING.read_text())]
    groups = {re.match(r"[^/]+/?", name)[0] for name in names}
    # One that has another in its name is replayed with it, or both would use the same namespaces.
    groups = sorted(g for g in groups if not any(other in g for other in groups - {g}))

    def replay(group):
        command = [sys.executable, RECORDING.with_name("replay.py"), recorded_cluster.kubeconfig]
        done = subprocess.run(
            [*command, RECORDING, group], capture_output=True, text=True, timeout=300, check=True
        )
        return done.stdout

    for _ in range(RUNS):
        # They mostly wait: each step until nothing has changed for 2.5 seconds.
        with ThreadPoolExecutor(len(groups)) as pool:
            outputs = list(pool.map(replay, groups))
        counts = Counter()
        for output in outputs:
            counts += Counter(json.loads(output[: output.index("}") + 1]))
        different = {
            match[1]
            for output in outputs
            for match in re.finditer(r"^\[\w+\] (.+?): settled$", output, re.MULTILINE)
        }
        print(f"{len(names)} stories, {dict(counts)}; settled differently: {sorted(different)}")
        if len(different) <= MOST_DIFFERENT:
            return
    pytest.fail("\n".join(outputs))
