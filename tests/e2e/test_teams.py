"""A second team on the site's cluster: with a scope and a namespace of its own, and no rights beyond that.

Its namespace is another's: with labels and an object that stay as they are.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.site import ROOT, Site, recap

SPACE = "team-b"
FIRST = "knative_clusters"  # the scope of the site
SCOPE = "streamops.knative/scope"
PLAYBOOKS = ("playbooks/secrets.yml", "playbooks/pipeline.yml")
RIGHTS = {"streamops-pipelines": "twitter_pipeline", "streamops-secrets": "secrets"}

pytestmark = pytest.mark.needs("kubectl")


@dataclass
class Team:
    """The second team, with its inventory."""

    site: Site
    inventory: Path

    def play(self, playbook: str, *arguments: str, check: bool = True, **variables: Any) -> str:
        extra = ("-e", json.dumps(variables)) if variables else ()
        command = ("ansible-playbook", "-i", str(self.inventory), playbook, *arguments, *extra)
        done = self.site.run(*command, check=check)
        assert check or done.returncode != 0, done.stdout
        return done.stdout

    def kubectl(self, *arguments: str) -> str:
        return self.site.run("kubectl", "-n", SPACE, *arguments).stdout


def cluster(site: Site) -> dict[str, str]:
    """The address and the authority of the cluster."""
    document = yaml.safe_load((site.home / "kubeconfig").read_text())
    given = document["clusters"][0]["cluster"]
    authority = base64.b64decode(given["certificate-authority-data"]).decode()
    return {"host": given["server"], "ca_cert": authority}


def image(site: Site, kind: str, name: str) -> str:
    path = "jsonpath={.spec.template.spec.containers[0].image}"
    return site.run("kubectl", "-n", "streamops", "get", kind, name, "-o", path).stdout


@pytest.fixture(scope="module")
def team(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A team that administers one namespace, which an administrator has made for it."""
    folder = tmp_path_factory.mktemp("team")
    made = Team(site, folder / "hosts.yml")
    site.run("kubectl", "create", "namespace", SPACE)
    site.run(
        "kubectl",
        "label",
        "namespace",
        SPACE,
        "owner=b",
        "pod-security.kubernetes.io/warn=baseline",
    )
    made.kubectl("create", "configmap", "theirs", "--from-literal=a=b")
    made.kubectl("create", "serviceaccount", "deployer")
    for name, role in RIGHTS.items():
        site.run("kubectl", "apply", "-f", str(ROOT / f"roles/{role}/files/rights.yml"))
        made.kubectl(
            "create",
            "rolebinding",
            name,
            f"--clusterrole={name}",
            f"--serviceaccount={SPACE}:deployer",
        )
    token = made.kubectl("create", "token", "deployer").strip()
    keys = json.loads((site.home / "x-keys.json").read_text())
    names = ("api_key", "api_secret", "access_key", "access_secret")
    host = {
        "kubernetes_login": cluster(site) | {"api_key": token},
        "secrets_backend": "kubernetes",
        **{f"secrets_x_{name}": keys[name] for name in names},
        "twitter_pipeline_scope": SPACE,
        "twitter_pipeline_namespace": SPACE,
        "twitter_pipeline_images_engine": "none",
        "twitter_pipeline_images": {
            "producer": image(site, "deployment", "twitter"),
            "viewer": image(site, "ksvc", "event-viewer"),
        },
        "twitter_pipeline_x_api_url": site.state["urls"]["x"],
        # As people have them, for other work.
        "ansible_become": True,
        "ansible_connection": "ssh",
    }
    made.inventory.write_text(yaml.safe_dump({"knative_clusters": {"hosts": {"b": host}}}))
    yield made
    site.run("kubectl", "delete", "namespace", SPACE)
    site.run("kubectl", "delete", "clusterrole", *RIGHTS)


def others(site: Site) -> set[str]:
    """Names of all objects that are not in the team's namespace.

    Real API servers keep an IPAddress for each Service, the team's too: those say nothing.
    """
    return {
        name
        for name in site.everything()
        if f" {SPACE} " not in f" {name} " and " IPAddress " not in name
    }


def labels(team: Team) -> dict[str, str]:
    """Labels of the namespace, without the one that Knative sets where there is a SinkBinding."""
    found: dict[str, str] = json.loads(team.kubectl("get", "namespace", SPACE, "-o", "json"))[
        "metadata"
    ]["labels"]
    found.pop("bindings.knative.dev/include", None)
    return found


def test_a_team_deploys_beside_another_and_changes_nothing_of_it(team: Team) -> None:
    before, given = others(team.site), labels(team)
    for playbook in PLAYBOOKS:
        assert recap(team.play(playbook))["b"]["failed"] == 0
    for playbook in PLAYBOOKS:
        assert recap(team.play(playbook))["b"]["changed"] == 0
    assert others(team.site) == before
    assert labels(team) == given
    assert json.loads(team.kubectl("get", "configmap", "theirs", "-o", "json"))["data"] == {
        "a": "b"
    }
    kinds = "deployment,ksvc,sinkbinding,role,secret"
    found = json.loads(team.kubectl("get", kinds, "-l", f"{SCOPE}={SPACE}", "-o", "json"))["items"]
    assert {item["kind"] for item in found} >= {
        "Deployment",
        "Service",
        "SinkBinding",
        "Role",
        "Secret",
    }
    assert "The probe took twitter-" in team.play("playbooks/verify.yml")
    summary = team.play("playbooks/summary.yml")
    assert f"Pipeline    {SPACE}/twitter: Deployment -> SinkBinding -> viewer" in summary


def test_the_first_team_goes_on_beside_it(team: Team) -> None:
    again = team.site.play("playbooks/pipeline.yml", "-e", team.site.variables)
    assert recap(again.stdout)["sandbox"]["changed"] == 0
    assert team.kubectl("get", "deployment", "twitter", "-o", "name")


def as_administrator(team: Team) -> dict[str, Any]:
    return {"kubernetes_login": {}, "kubeconfig": str(team.site.home / "kubeconfig")}


def test_a_namespace_of_another_scope_is_refused_with_its_owner(team: Team) -> None:
    said = team.play(
        "playbooks/pipeline.yml",
        check=False,
        twitter_pipeline_namespace="streamops",
        **as_administrator(team),
    )
    assert f"belongs to the scope '{FIRST}', not to '{SPACE}'" in " ".join(said.split())
    assert said.count("TASK [") == 1


def test_a_team_that_forgot_its_scope_does_not_delete_the_first_ones_history(team: Team) -> None:
    said = team.play(
        "playbooks/pipeline.yml", check=False, twitter_pipeline_scope=FIRST,
        twitter_pipeline_namespace="team-c", **as_administrator(team),
    )  # fmt: skip
    said = " ".join(said.split())
    assert "would delete the checkpoint in ConfigMap streamops/twitter-state" in said
    assert "give this inventory a twitter_pipeline_scope of its own" in said


def test_a_right_that_is_missing_is_named_before_anything_is_touched(team: Team) -> None:
    name = "streamops-pipelines"
    binding = team.kubectl("get", "rolebinding", name, "-o", "json")
    team.kubectl("delete", "rolebinding", name)
    try:
        said = team.play("playbooks/pipeline.yml", check=False)
    finally:
        restored = team.inventory.with_name("binding.json")
        restored.write_text(binding)
        team.kubectl("create", "-f", str(restored))
    assert "twitter_pipeline_namespace: this login may not " in said
    assert "get/list/create/patch/delete deployments.apps" in said
    assert "roles/twitter_pipeline/files/rights.yml" in said
    assert said.count("TASK [") == 1


def test_what_a_team_had_leaves_and_what_was_there_stays(team: Team) -> None:
    before, given = others(team.site), labels(team)
    refused = team.play("playbooks/pipeline.yml", check=False, twitter_pipeline_state="absent")
    assert "twitter_pipeline_delete_history: absent deletes the checkpoints" in refused
    team.play(
        "playbooks/pipeline.yml",
        twitter_pipeline_state="absent",
        twitter_pipeline_delete_history=True,
    )
    team.play("playbooks/secrets.yml", secrets_state="absent")
    kinds = "deployment,ksvc,sinkbinding,role,secret,configmap,serviceaccount,networkpolicy"
    left = team.kubectl("get", kinds, "-o", "name").split()
    assert {name.partition("/")[2] for name in left} == {
        "theirs", "deployer", "default", "kube-root-ca.crt",
    }  # fmt: skip
    assert others(team.site) == before
    assert labels(team) == given
