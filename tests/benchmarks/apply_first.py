"""Applying Knative Eventing to an API server that has nothing: apply and kubectl, each on servers of its own.

Controllers do not run, so that the two are measured and not what the cluster then does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import apply_contenders
from benchmarks._harness import Result
from benchmarks.apply_noop import NAMES
from support.kube import KNATIVE, Kube, api_server

RUNS = 3


def run() -> Result:
    """Time whole commands in turn, so that all share the machine's moods; the best of each counts."""
    if not KNATIVE.is_dir():
        raise FileNotFoundError(f"{KNATIVE} is not there: it holds the manifests to apply")
    files = [str(KNATIVE / name) for name in NAMES]
    rounds = [
        (
            _on_a_new_server(lambda folder, kube: apply_contenders.ours(folder, kube, files)),
            _on_a_new_server(lambda _folder, kube: apply_contenders.kubectl(kube, files)),
        )
        for _ in range(RUNS)
    ]
    ours = min(seconds for seconds, _ in rounds if seconds is not None)
    peers = [seconds for _, seconds in rounds if seconds is not None]
    figures: dict[str, float | int | str | None] = {
        "apply_seconds": ours,
        "server": apply_contenders.SERVER,
    }
    if not peers:
        summary = f"first apply of Knative Eventing {ours:.2f} s; kubectl is not here: skipped"
        return {"name": "apply_first", "summary": summary, "figures": figures, "goals": {}}
    ratio = ours / min(peers)
    return {
        "name": "apply_first",
        "summary": (
            f"first apply of Knative Eventing {ours:.2f} s, {ratio:.2f} x kubectl ({min(peers):.2f} s)"
        ),
        "figures": {**figures, "kubectl_seconds": min(peers), "ratio_to_kubectl": ratio},
        "goals": {"at most 0.6 x kubectl": ratio <= 0.6},
    }


def _on_a_new_server(
    contender: Callable[[Path, Kube], apply_contenders.Measured | None],
) -> float | None:
    with tempfile.TemporaryDirectory() as folder, api_server(Path(folder) / "kube") as kube:
        measured = contender(Path(folder), kube)
        return measured() if measured else None
