"""The commands that apply manifests: our module, kubectl, kubernetes.core."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from benchmarks._harness import timed
from support import peers
from support.kube import REAL, Kube
from support.site import BIN

#: Runs a whole command; returns its seconds.
Measured = Callable[[], float]
#: What `support.kube.api_server` starts.
SERVER = "kube-apiserver of the real lane" if REAL else "streamops_sandbox.kube"


def ours(folder: Path, kube: Kube, files: list[str]) -> Measured:
    """Return the module `apply` in a playbook of its own, written to `folder`."""
    options = {"kubeconfig": str(kube.kubeconfig), "files": files, "wait": False}
    options["force_conflicts"] = True  # the others write the same fields in the same run
    play = _play(folder, "ours", {"streamops.knative.apply": options})
    command = [str(BIN / "ansible-playbook"), "-i", "localhost,", "-c", "local", play]
    return lambda: timed(command)[0]


def kubectl(kube: Kube, files: list[str]) -> Measured | None:
    """Return `kubectl apply --server-side`; None where there is no kubectl."""
    program = shutil.which("kubectl")
    if program is None:
        return None
    named = [argument for file in files for argument in ("-f", file)]
    command = [program, "--kubeconfig", str(kube.kubeconfig), "apply", "--server-side"]
    return lambda: timed([*command, "--force-conflicts", *named])[0]


def kubernetes_core(folder: Path, kube: Kube, files: list[str]) -> Measured | None:
    """Return kubernetes.core.k8s in a playbook of its own; None where it cannot be installed."""
    try:
        program = peers.ansible_playbook()
    except (OSError, subprocess.SubprocessError):
        return None
    options = {
        "kubeconfig": str(kube.kubeconfig),
        "src": "{{ item }}",
        "apply": True,
        "server_side_apply": {"field_manager": "kubernetes.core", "force_conflicts": True},
    }
    play = _play(folder, "core", {"kubernetes.core.k8s": options, "loop": files})
    command = [str(program), "-i", "localhost,", "-c", "local", play]
    return lambda: timed(command, peers.environment())[0]


def _play(folder: Path, name: str, task: dict[str, object]) -> str:
    path = folder / f"{name}.yml"
    path.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    return str(path)
