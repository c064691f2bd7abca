"""Upstream's Knative, all of it and unmodified, installed by the role on a cluster of the sandbox."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._harness import Result, timed
from support.kube import KNATIVE, cluster
from support.site import BIN, recap

from streamops_sandbox.knative import release

COMPONENTS = ["serving", "kourier", "hpa", "eventing", "in-memory-channel", "mt-channel-broker"]
#: A setting of each kind that costs work in each run.
SETTINGS: dict[str, Any] = {
    "knative_eventing_config": {"serving": {"config-features": {"multi-container": "enabled"}}},
    "knative_eventing_observability": {"tracing-endpoint": "collector.observability:4317"},
    "knative_eventing_workloads": [
        {
            "name": "all",
            "replicas": 2,
            "labels": {"team": "platform"},
            "annotations": {"example.com/note": "ours"},
            "tolerations": [{"key": "streamops", "operator": "Exists", "effect": "NoSchedule"}],
        }
    ],
    "knative_eventing_services": [{"name": "all", "annotations": {"example.com/service": "ours"}}],
    "knative_eventing_pod_disruption_budgets": [{"name": "all", "maxUnavailable": "50%"}],
    "knative_eventing_namespace_metadata": {"labels": {"istio-injection": "disabled"}},
    "knative_eventing_selection_mode": "inclusion",
    "knative_eventing_autopilot": True,
}


def run() -> Result:
    """Install, then install again, without and with settings. Upstream's own probes wait 20 s: no run can take less."""
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
        play: dict[str, Any] = {"hosts": "localhost", "gather_facts": False, "vars": variables}
        roles = ["streamops.knative.knative_eventing"]
        playbook.write_text(json.dumps([play | {"roles": roles}]))
        first, _ = _timed(playbook)
        again, changed = _timed(playbook)
        play["vars"] = variables | SETTINGS
        playbook.write_text(json.dumps([play | {"roles": roles}]))
        _timed(playbook)
        set_again, set_changed = _timed(playbook)
        client = kube.connect()
        objects = sum(
            len(client.list(resource))
            for resource in client.resources().values()
            if "list" in resource.verbs
        )
    return {
        "name": "knative_install",
        "summary": (
            f"all of upstream's Knative {first:.1f} s, again {again:.1f} s (changed={changed}),"
            f" with settings of each kind again {set_again:.1f} s (changed={set_changed});"
            f" {objects} objects in the cluster then"
        ),
        "figures": {
            "first_run_seconds": first,
            "second_run_seconds": again,
            "second_run_changed": changed,
            "second_run_with_settings_seconds": set_again,
            "second_run_with_settings_changed": set_changed,
            "objects": objects,
        },
        "goals": {
            "full install under 30 s": first < 30,
            "second runs changed=0": changed == set_changed == 0,
            "second run with settings at most 1.2 x 1.7 s": set_again <= 1.2 * 1.7,
        },
    }


def _timed(playbook: Path) -> tuple[float, int]:
    """Seconds a run takes, and how many of its tasks changed something."""
    command = [str(BIN / "ansible-playbook"), "-i", "localhost,", "-c", "local", str(playbook)]
    seconds, printed = timed(command)
    return seconds, recap(printed)["localhost"]["changed"]
