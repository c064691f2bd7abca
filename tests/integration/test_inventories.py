"""Inventories that people already have: their shapes, their other variables, their mistakes.

playbooks/preflight.yml reads a little from each cluster: here always one API server, without Knative.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.kube import api_server

ROOT = Path(__file__).resolve().parents[2]
INVENTORIES = Path(__file__).parent / "inventories"
BIN = Path(sys.executable).parent
#: Names of the contexts of each cluster.
CONTEXTS = (("current", "production", "eu-a"), ("staging", "eu-b"), ("us-a",))
KEYS = ("api_key", "api_secret", "access_key", "access_secret")


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory):
    """A kubeconfig with the contexts of several clusters, as people have."""
    folder = tmp_path_factory.mktemp("servers")
    several: dict[str, Any] = {"clusters": [], "users": [], "contexts": []}
    with contextlib.ExitStack() as servers:
        for names in CONTEXTS:
            kube = servers.enter_context(api_server(folder / names[0]))
            document = yaml.safe_load(kube.kubeconfig.read_text())
            for section in ("clusters", "users"):
                (only,) = document[section]
                several[section].append(only | {"name": names[0]})
            context = {"cluster": names[0], "user": names[0]}
            several["contexts"] += [{"name": name, "context": context} for name in names]
        several |= {"apiVersion": "v1", "kind": "Config", "current-context": "current"}
        file = folder / "several"
        file.write_text(yaml.safe_dump(several))
        yield file


@pytest.fixture(scope="module")
def preflight(kubeconfig):
    """Run playbooks/preflight.yml on an inventory, by a person with keys in the environment."""

    def run(inventory, *arguments, playbook="playbooks/preflight.yml", **environment):
        keys = {f"X_{name.upper()}": f"value-of-{name}" for name in KEYS}
        return subprocess.run(
            [BIN / "ansible-playbook", "-i", inventory, playbook, *arguments],
            cwd=ROOT,
            env=os.environ
            | {"ANSIBLE_FORCE_COLOR": "0", "SANDBOX_HOME": "/nonexistent"}
            | {"KUBECONFIG": str(kubeconfig)}
            | keys
            | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    return run


def test_the_inventory_of_the_guide_as_written(preflight, kubeconfig, tmp_path):
    """Beside hosts that are reached by SSH, not by anybody here."""
    guide = (ROOT / "docs/how-to/existing-cluster.md").read_text()
    (tmp_path / "hosts.yml").write_text(guide.partition("```yaml\n")[2].partition("```")[0])
    (tmp_path / "others.yml").write_text(
        "all: {vars: {ansible_connection: ssh, ansible_host: nowhere.invalid, ansible_become: true}}"
    )
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube/config").write_text(kubeconfig.read_text())
    result = preflight(tmp_path / "hosts.yml", "-i", tmp_path / "others.yml", HOME=str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    assert hosts(result) == {"staging"}


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
def test_an_inventory_as_it_is(preflight, inventory, target, expected):
    result = preflight(INVENTORIES / inventory, *(["-e", f"target={target}"] if target else []))
    assert result.returncode == 0, result.stdout + result.stderr
    assert hosts(result) == expected


def test_a_vault_file_beside_the_inventory(preflight, tmp_path):
    (tmp_path / "password").write_text("pass")
    secret = tmp_path / "group_vars" / "knative_clusters" / "vault.yml"
    secret.parent.mkdir(parents=True)
    secret.write_text(json.dumps({f"secrets_x_{name}": "hidden-value-1" for name in KEYS}))
    vault = ["--vault-password-file", str(tmp_path / "password")]
    encrypt = [BIN / "ansible-vault", "encrypt", *vault, secret]
    subprocess.run(encrypt, check=True, cwd=ROOT, stdin=subprocess.DEVNULL, timeout=200)
    plain = (INVENTORIES / "plain.ini").read_text()
    without_keys = [line for line in plain.splitlines() if not line.startswith("secrets_x_")]
    (tmp_path / "hosts.ini").write_text("\n".join(without_keys))
    assert preflight(tmp_path / "hosts.ini").returncode != 0  # not without the password
    result = preflight(tmp_path / "hosts.ini", *vault, "-vvvv")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "hidden-value-1" not in result.stdout + result.stderr


@pytest.mark.parametrize("target", ["clusterz", "ungrouped"])
def test_a_group_without_hosts_is_an_error_that_names_the_groups(preflight, target):
    result = preflight(INVENTORIES / "nested", "-e", f"target={target}")
    assert result.returncode != 0
    said = result.stdout + result.stderr
    assert f"The inventory has no host for '{target}'" in said
    assert "clusters_eu (2)" in said


@pytest.mark.parametrize("playbook", ["playbooks/preflight.yml", "site.yml"])
def test_hosts_that_are_the_same_cluster_are_refused(preflight, tmp_path, playbook):
    hosts = {
        "one": {"context": "staging"},
        "other": {"context": "eu-b"},
        "third": {"context": "us-a"},
    }
    right = yaml.safe_load((INVENTORIES / "nested/group_vars/clusters/streamops.yml").read_text())
    document = {"knative_clusters": {"hosts": hosts, "vars": right}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(document))
    result = preflight(tmp_path / "hosts.yml", "--check", playbook=playbook)
    assert result.returncode != 0
    assert "other is the same cluster as one" in result.stdout
    assert "one is the same cluster as other" in result.stdout
    assert "the same cluster as third" not in result.stdout


def login(kubeconfig, context):
    """The host and the authority of a context, and its token."""
    document = yaml.safe_load(kubeconfig.read_text())
    found = {}
    for section in ("clusters", "users"):
        found |= next(e for e in document[section] if e["name"] == context)[section[:-1]]
    authority = base64.b64decode(found["certificate-authority-data"]).decode()
    return found["server"], authority, found["token"]


def without_kubeconfig():
    text = (INVENTORIES / "plain.ini").read_text()
    return "\n".join(line for line in text.splitlines() if not line.startswith("kubeconfig"))


def test_the_environment_of_a_credential_is_a_login(preflight, tmp_path, kubeconfig):
    (tmp_path / "hosts.ini").write_text(without_kubeconfig())
    host, authority, token = login(kubeconfig, "staging")
    (tmp_path / "ca.crt").write_text(authority)
    given = {"K8S_AUTH_HOST": host, "K8S_AUTH_SSL_CA_CERT": str(tmp_path / "ca.crt")}
    nowhere = {"KUBECONFIG": "/nonexistent"}
    result = preflight(tmp_path / "hosts.ini", **nowhere, **given, K8S_AUTH_API_KEY=token)
    assert result.returncode == 0, result.stdout + result.stderr
    result = preflight(tmp_path / "hosts.ini", **nowhere, **given, K8S_AUTH_API_KEY="wrong-token")
    assert "- kubeconfig: " in result.stdout
    assert "401" in result.stdout or "nauthorized" in result.stdout


def test_host_and_api_key_are_a_login(preflight, tmp_path, kubeconfig):
    (tmp_path / "hosts.ini").write_text(without_kubeconfig())
    host, authority, token = login(kubeconfig, "staging")
    given = {"host": host, "ca_cert": authority, "api_key": token}
    nowhere = {"KUBECONFIG": "/nonexistent"}

    def run(variables):
        extra = json.dumps({"kubernetes_login": variables})
        return preflight(tmp_path / "hosts.ini", "-vvv", "-e", extra, **nowhere)

    result = run(given)
    assert result.returncode == 0, result.stdout + result.stderr
    assert token not in result.stdout
    result = run(given | {"api_key": "wrong-token-1"})
    assert "- kubernetes_login: " in result.stdout
    result = run(given | {"apikey": "a"})
    assert "_login.apikey: unknown key; did you mean api_key?" in result.stdout


#: What a host's variables lack or have wrong, and what is said of it.
MISTAKES = {
    "misspelt": ({"twitter_pipeline_topcs": ["a"]}, "did you mean twitter_pipeline_topics?"),
    "misspelt-key": (
        {"twitter_pipeline_pipelines": [{"topcs": ["a"]}]},
        "twitter_pipeline_pipelines[0].topcs: unknown key; did you mean topics?",
    ),
    "misspelt-version": (
        {"knative_eventing_versoin": "1.22.2"},
        "did you mean knative_eventing_version?",
    ),
    "misspelt-cluster": ({"gcp_cluster_locaton": "x"}, "did you mean gcp_cluster_location?"),
    "long-topic": (
        {"twitter_pipeline_topics": ["x" * 600]},
        "twitter_pipeline_topics: 600 characters",
    ),
    "unknown-workload": ({"twitter_pipeline_workload": "Cronjob"}, "twitter_pipeline_workload"),
    "no-list": ({"twitter_pipeline_pipelines": "x"}, "twitter_pipeline_pipelines"),
    "one-name": (
        {"twitter_pipeline_pipelines": [{"name": "a"}, {"name": "a"}]},
        "2 pipelines are called a in namespace streamops",
    ),
    "default-name": (
        {"twitter_pipeline_pipelines": [{}, {"name": "twitter"}]},
        "2 pipelines are called twitter in namespace streamops",
    ),
    "no-registry": ({"twitter_pipeline_registry": ""}, "twitter_pipeline_registry is empty"),
    "undefined": (
        {"twitter_pipeline_registry": "{{ nobody }}"},
        "twitter_pipeline_registry: 'nobody' is undefined",
    ),
    "no-key": ({"secrets_x_api_key": ""}, "secrets_x_api_key is empty"),
    "no-location": ({"gcp_cluster_name": "a"}, "gcp_cluster_location is empty"),
    "unknown-backend": ({"secrets_backend": "paper"}, "secrets_backend"),
    "no-cluster": ({"kubeconfig": ""}, "no cluster: set gcp_cluster_name"),
    "no-file": ({"kubeconfig": "/nonexistent"}, "kubeconfig: no such file: /nonexistent"),
    "no-context": ({"context": "prod"}, "context: context 'prod' is not in "),
    "no-context-of-the-role": (
        {"twitter_pipeline_context": "prod"},
        "twitter_pipeline_context: context 'prod' is not in ",
    ),
    "no-namespace": (
        {
            "twitter_pipeline_sink": {
                "ref": {"apiVersion": "v1", "kind": "Service", "name": "a", "namespace": "gone"}
            }
        },
        "twitter_pipeline_sink.ref: there is no namespace gone",
    ),
}


@pytest.fixture(scope="module")
def mistakes(preflight, tmp_path_factory):
    """What is said of each host of one inventory, each with a mistake of its own."""
    folder = tmp_path_factory.mktemp("mistakes")
    right = {
        name: value.strip('"')
        for name, value in (
            line.split("=", 1)
            for line in (INVENTORIES / "plain.ini").read_text().splitlines()
            if "=" in line
        )
    }
    hosts = {name: right | variables for name, (variables, _) in MISTAKES.items()}
    hosts["right"] = right | {"context": "staging"}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"knative_clusters": {"hosts": hosts}}))
    result = preflight(folder / "hosts.yml", "--forks", "2")
    assert result.returncode != 0
    said = {}
    for part in result.stdout.split("PLAY RECAP")[0].split("fatal: [")[1:]:
        host, _, text = part.partition("]")
        said[host] = text
    return said


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_refused_by_its_name(mistakes, name):
    assert MISTAKES[name][1] in mistakes[name]


def test_mistakes_of_other_hosts_do_not_matter(mistakes):
    assert "right" not in mistakes


def test_a_cluster_that_does_not_answer_is_a_problem_of_its_kubeconfig(
    preflight, tmp_path, kubeconfig
):
    document = yaml.safe_load(kubeconfig.read_text())
    for cluster in document["clusters"]:
        cluster["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(document))
    result = preflight(INVENTORIES / "plain.ini", KUBECONFIG=str(tmp_path / "kubeconfig"))
    assert result.returncode != 0
    assert "- kubeconfig: " in result.stdout
    assert "127.0.0.1:1" in result.stdout


def test_all_mistakes_of_all_roles_are_told_in_one_failure(preflight):
    variables = {
        "twitter_pipeline_interval": 0,
        "secrets_backend": "paper",
        "context": "prod",
        "knative_eventing_versoin": "1.22.2",
    }
    result = preflight(INVENTORIES / "plain.ini", "-e", json.dumps(variables))
    assert result.returncode != 0
    failure = result.stdout.split("Variables of staging to correct", 1)[1]
    for name in (*variables, "context 'prod'"):
        assert name in failure


def test_a_pipeline_alone_is_refused_where_there_is_no_knative(preflight):
    result = preflight(INVENTORIES / "plain.ini", playbook="playbooks/pipeline.yml")
    assert result.returncode != 0
    assert "knative_eventing_version: Knative Eventing is not installed" in result.stdout
    assert result.stdout.count("TASK [") == 1  # nothing after the check


@pytest.mark.parametrize("checked", [True, False])
def test_what_was_checked_is_not_read_again(preflight, tmp_path, checked):
    """Reading a role takes as long as a task does, and tasks name its variables dozens of times."""
    role = {"name": "streamops.knative.gcp_cluster", "tasks_from": "kubeconfig"}
    noted = tmp_path / "read"
    play = {
        "hosts": "all",
        "gather_facts": False,
        "connection": "local",
        "vars": {
            "gcp_cluster_location": f"{{{{ lookup('ansible.builtin.pipe', 'echo us-east1; touch {noted}') }}}}"
        },
        "tasks": [
            {"ansible.builtin.import_role": {**role, "rolespec_validate": False}},
            {"ansible.builtin.debug": {"msg": "{{ _gcp_cluster.name }}"}},
        ],
    }
    if checked:
        play["pre_tasks"] = [{"ansible.builtin.set_fact": {"_gcp_cluster": {"name": "as checked"}}}]
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    result = preflight("localhost,", playbook=str(tmp_path / "play.yml"))
    assert result.returncode == 0, result.stdout
    assert noted.exists() is not checked


@pytest.mark.parametrize("changed", [False, True])
def test_a_role_s_check_reads_only_what_changed_since_the_check_of_all(
    preflight, tmp_path, kubeconfig, changed
):
    noted = tmp_path / "read"
    region = (
        f"{{{{ lookup('ansible.builtin.pipe', 'echo us; echo . >> {noted}') }}}}-{{{{ side }}}}"
    )
    checks = [{"roles": ["gcp_cluster", "secrets"]}, {"role": "gcp_cluster"}]
    names = ["_streamops_checked", "_gcp_cluster"]
    first, second = (
        {"streamops.knative.preflight": options, "register": name}
        for options, name in zip(checks, names, strict=True)
    )
    between = {"ansible.builtin.set_fact": {"side": "east1"}, "when": changed}
    credentials = {f"secrets_x_{name}": "value" for name in KEYS}
    play = {
        "hosts": "all",
        "gather_facts": False,
        "connection": "local",
        "vars": {
            "kubeconfig": str(kubeconfig),
            "gcp_cluster_location": region,
            "secrets_project": "my-project",
            "side": "west1",
            **credentials,
        },
        "tasks": [
            first,
            between,
            second,
            {"ansible.builtin.debug": {"var": "_gcp_cluster.location"}},
        ],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    result = preflight("localhost,", playbook=str(tmp_path / "play.yml"))
    assert result.returncode == 0, result.stdout
    assert ("us-east1" if changed else "us-west1") in result.stdout
    assert len(noted.read_text().split()) == (2 if changed else 1)
