"""Applying Knative Eventing again when nothing changed: apply, kubectl and kubernetes.core side by side.

Against a server of the sandbox, that of the real lane, or, with E(BENCH_KUBECONFIG), any other.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import apply_contenders
from benchmarks._harness import Result
from support.kube import KNATIVE, REAL, Kube, api_server

RUNS = 5
NAMES = ("eventing-core.yaml", "in-memory-channel.yaml", "mt-channel-broker.yaml")


def run() -> Result:
    """Time whole commands in turn, so that all share the machine's moods; the best of each counts."""
    if not KNATIVE.is_dir():
        raise FileNotFoundError(f"{KNATIVE} is not there: it holds the manifests to apply")
    files = [str(KNATIVE / name) for name in NAMES]
    with tempfile.TemporaryDirectory() as folder, _server(Path(folder)) as kube:
        again = kube.apply(files=files)  # the first run makes everything
        again = kube.apply(files=files)
        contenders = {
            "apply": apply_contenders.ours(Path(folder), kube, files),
            "kubectl": apply_contenders.kubectl(kube, files),
            "kubernetes_core": apply_contenders.kubernetes_core(Path(folder), kube, files),
        }
        best = _best({name: measured for name, measured in contenders.items() if measured})
    ratios = {name: best["apply"] / seconds for name, seconds in best.items() if name != "apply"}
    groups = {(entry["kind"], entry["namespace"]) for entry in again.result["objects"]}
    requests, objects = again.result["requests"], len(again.result["objects"])
    real = bool(REAL) or "BENCH_KUBECONFIG" in os.environ
    limits = (
        {"kubectl": 0.4, "kubernetes_core": 0.2}
        if real
        else {"kubectl": 0.8, "kubernetes_core": 0.4}
    )
    told = [
        f"{ratios[name]:.2f} x {name} ({best[name]:.2f} s)"
        if name in ratios
        else f"{name} is not here: skipped"
        for name in limits
    ]
    return {
        "name": "apply_noop",
        "summary": (
            f"no-op of {objects} objects {best['apply']:.2f} s, {', '.join(told)};"
            f" {requests} requests"
        ),
        "figures": {
            "objects": objects,
            "requests": requests,
            **{f"{name}_seconds": seconds for name, seconds in best.items()},
            **{f"ratio_to_{name}": ratio for name, ratio in ratios.items()},
            "server": "BENCH_KUBECONFIG"
            if "BENCH_KUBECONFIG" in os.environ
            else apply_contenders.SERVER,
        },
        "goals": {
            **{
                f"at most {limit} x {name}": ratios[name] <= limit
                for name, limit in limits.items()
                if name in ratios
            },
            "at most one request per object and one per kind and namespace": (
                requests <= objects + len(groups)
            ),
        },
    }


@contextmanager
def _server(folder: Path) -> Iterator[Kube]:
    if "BENCH_KUBECONFIG" in os.environ:
        yield Kube(Path(os.environ["BENCH_KUBECONFIG"]))
        return
    with api_server(folder / "kube") as kube:
        yield kube


def _best(contenders: dict[str, apply_contenders.Measured]) -> dict[str, float]:
    """Seconds by name. The first round is thrown away: in it each takes its fields and fills caches."""
    rounds = [{name: measured() for name, measured in contenders.items()} for _ in range(RUNS + 1)]
    return {name: min(seconds[name] for seconds in rounds[1:]) for name in contenders}
