"""Applying many small objects to an API server that has nothing: apply and kubectl, each on servers of its own.

Namespaces with a Deployment, a ConfigMap, a Service and a ServiceAccount each; controllers do not run. kubectl sends
at most 50 requests a second to a server without priority and fairness, such as the sandbox's: the comparison that
counts is that with CLUSTER=real.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from benchmarks import apply_contenders
from benchmarks._harness import Result
from support.kube import Kube, api_server, config_map, deployment, namespace

NAMESPACES, RUNS = 250, 3
GOAL = 3
Object = dict[str, Any]


def run() -> Result:
    """Time whole commands in turn, so that all share the machine's moods; the best of each counts."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "objects.yaml"
        objects = [item for number in range(NAMESPACES) for item in _namespace(f"team-{number}")]
        file.write_text(yaml.safe_dump_all(objects))
        rounds = [(_measure("ours", file), _measure("kubectl", file)) for _ in range(RUNS)]
    small = len(objects) - NAMESPACES
    ours = min(mine for mine, _ in rounds if mine)
    figures: dict[str, float | int | str | None] = {
        "objects": small,
        "namespaces": NAMESPACES,
        "apply_seconds": ours,
        "apply_objects_per_second": small / ours,
        "server": apply_contenders.SERVER,
    }
    said = f"{small} small objects: {small / ours:.0f} a second"
    peers = [theirs for _, theirs in rounds if theirs]
    if not peers:
        summary = f"{said}; kubectl is not here: skipped"
        return {"name": "apply_small", "summary": summary, "figures": figures, "goals": {}}
    kubectl = min(peers)
    figures |= {
        "kubectl_seconds": kubectl,
        "kubectl_objects_per_second": small / kubectl,
        "ratio_to_kubectl": kubectl / ours,
    }
    return {
        "name": "apply_small",
        "summary": f"{said}, {kubectl / ours:.1f} x kubectl ({small / kubectl:.0f})",
        "figures": figures,
        "goals": {f"{GOAL} x the objects a second of kubectl": kubectl / ours >= GOAL},
    }


def _namespace(name: str) -> list[Object]:
    """Return a namespace and its four small objects."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "app", "namespace": name},
        "spec": {"selector": {"app": "app"}, "ports": [{"name": "http", "port": 80}]},
    }
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "app", "namespace": name},
    }
    return [
        namespace(name),
        deployment("app", name),
        config_map("app", name, level="info"),
        service,
        account,
    ]


def _measure(contender: str, file: Path) -> float | None:
    """Return seconds of a whole command on a new server; None where the contender is not here."""
    with tempfile.TemporaryDirectory() as folder, api_server(Path(folder) / "kube") as kube:
        measured = _command(contender, Path(folder), kube, file)
        return None if measured is None else measured()


def _command(
    contender: str, folder: Path, kube: Kube, file: Path
) -> apply_contenders.Measured | None:
    if contender == "ours":
        return apply_contenders.ours(folder, kube, [str(file)])
    return apply_contenders.kubectl(kube, [str(file)])
