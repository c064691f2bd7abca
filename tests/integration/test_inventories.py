"""Inventories that people already have: their shapes, their other variables, their mistakes.

playbooks/preflight.yml talks to nothing, so no cluster is needed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INVENTORIES = Path(__file__).parent / "inventories"
BIN = Path(sys.executable).parent


def preflight(inventory, *arguments):
    return subprocess.run(
        [BIN / "ansible-playbook", "-i", inventory, "playbooks/preflight.yml", *arguments],
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_FORCE_COLOR": "0", "SANDBOX_HOME": "/nonexistent"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def hosts(result):
    lines = result.stdout.split("PLAY RECAP", 1)[1].splitlines()[1:]
    return {line.split(":")[0].strip() for line in lines if ":" in line}


@pytest.mark.parametrize(
    ("inventory", "target", "expected"),
    [
        ("plain.ini", None, {"staging"}),
        ("nested", "clusters", {"eu-a", "eu-b", "us-a"}),
        ("nested", "clusters_eu", {"eu-a", "eu-b"}),
        ("nested", "clusters:!eu-b", {"eu-a", "us-a"}),
        ("dynamic.sh", "fleet", {"one", "two"}),
        (str(ROOT / "inventories" / "existing"), None, {"staging", "production"}),
        (str(ROOT / "inventories" / "gke" / "hosts.yml"), None, {"streamops"}),
    ],
)
def test_an_inventory_as_it_is(inventory, target, expected):
    result = preflight(INVENTORIES / inventory, *(["-e", f"target={target}"] if target else []))
    assert result.returncode == 0, result.stdout + result.stderr
    assert hosts(result) == expected


def test_a_vault_file_beside_the_inventory(tmp_path):
    (tmp_path / "password").write_text("pass")
    secret = tmp_path / "group_vars" / "knative_clusters" / "vault.yml"
    secret.parent.mkdir(parents=True)
    secret.write_text(json.dumps({"secrets_x_api_key": "hidden-value-1"}))
    vault = ["--vault-password-file", str(tmp_path / "password")]
    encrypt = [BIN / "ansible-vault", "encrypt", *vault, secret]
    subprocess.run(encrypt, check=True, cwd=ROOT, stdin=subprocess.DEVNULL, timeout=60)
    (tmp_path / "hosts.ini").write_text("[knative_clusters]\na kubeconfig=/dev/null\n")
    result = preflight(tmp_path / "hosts.ini", *vault, "-vvvv")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "hidden-value-1" not in result.stdout + result.stderr


@pytest.mark.parametrize("target", ["clusterz", "ungrouped"])
def test_a_group_without_hosts_is_an_error_that_names_the_groups(target):
    result = preflight(INVENTORIES / "nested", "-e", f"target={target}")
    assert result.returncode != 0
    said = result.stdout + result.stderr
    assert f"The inventory has no host for '{target}'" in said
    assert "clusters_eu (2)" in said


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"twitter_pipeline_topcs": ["a"]}, "did you mean twitter_pipeline_topics?"),
        ({"twitter_pipeline_topics": ["x" * 600]}, "twitter_pipeline_topics: 600 characters"),
        ({"twitter_pipeline_workload": "Cronjob"}, "twitter_pipeline_workload"),
        (
            {"twitter_pipeline_pipelines": [{"name": "a"}, {"name": "a"}]},
            "2 pipelines are called a",
        ),
        ({"kubeconfig": ""}, "no cluster: set gcp_cluster_name"),
        ({"knative_eventing_versoin": "1.22.2"}, "did you mean knative_eventing_version?"),
        ({"gcp_cluster_locaton": "x"}, "did you mean gcp_cluster_location?"),
        ({"secrets_backend": "paper"}, "secrets_backend"),
    ],
)
def test_a_mistake_is_refused_by_its_name(variables, said):
    result = preflight(INVENTORIES / "plain.ini", "-e", json.dumps(variables))
    assert result.returncode != 0
    assert said in result.stdout


def test_all_mistakes_of_all_roles_are_told_in_one_failure():
    variables = {"twitter_pipeline_interval": 0, "secrets_backend": "paper", "kubeconfig": ""}
    result = preflight(INVENTORIES / "plain.ini", "-e", json.dumps(variables))
    assert result.returncode != 0
    failure = result.stdout.split("Variables of staging to correct", 1)[1]
    for name in ("twitter_pipeline_interval", "secrets_backend", "no cluster"):
        assert name in failure
