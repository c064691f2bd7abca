"""Upstream's Knative, all of it and unmodified, installed by the role on a cluster of the sandbox."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks._harness import Result, timed
from support.kube import KNATIVE, cluster
from support.site import BIN, recap

from streamops_sandbox.knative import release

COMPONENTS = ["serving", "kourier", "hpa", "eventing", "in-memory-channel", "mt-channel-broker"]


def run() -> Result:
    """Install, then install again. Upstream's own probes wait 20 s: no run can take less."""
    if not KNATIVE.is_dir():
        raise FileNotFoundError(f"{KNATIVE} is not there: it holds the manifests to install")
    with tempfile.TemporaryDirectory() as home, cluster(Path(home) / "cluster") as kube:
        playbook = Path(home) / "play.yml"
        variables = {
            "kubeconfig": str(kube.kubeconfig),
            "knative_eventing_folder": str(KNATIVE),
            "knative_eventing_version": release.newest(KNATIVE)["eventing"],
            "knative_eventing_components": COMPONENTS,
            "knative_eventing_domain": "localhost",
            "knative_eventing_gateway": "node_port",
        }
        play = {"hosts": "localhost", "gather_facts": False, "vars": variables}
        roles = ["streamops.knative.knative_eventing"]
        playbook.write_text(json.dumps([play | {"roles": roles}]))
        first, _ = _timed(playbook)
        again, changed = _timed(playbook)
        client = kube.connect()
        objects = sum(
            len(client.list(resource))
            for resource in client.resources().values()
            if "list" in resource.verbs
        )
    return {
        "name": "knative_install",
        "summary": (
            f"all of upstream's Knative {first:.1f} s, again {again:.1f} s (changed={changed});"
            f" {objects} objects in the cluster then"
        ),
        "figures": {
            "first_run_seconds": first,
            "second_run_seconds": again,
            "second_run_changed": changed,
            "objects": objects,
        },
        "goals": {
            "full install under 30 s": first < 30,
            "second run changed=0": changed == 0,
            "second run at most 1.2 x 1.7 s": again <= 1.2 * 1.7,
        },
    }


def _timed(playbook: Path) -> tuple[float, int]:
    """Seconds a run takes, and how many of its tasks changed something."""
    command = [str(BIN / "ansible-playbook"), "-i", "localhost,", "-c", "local", str(playbook)]
    seconds, printed = timed(command)
    return seconds, recap(printed)["localhost"]["changed"]
