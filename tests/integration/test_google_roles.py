"""The roles gcp_cluster and secrets, run by ansible-playbook."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config
from support.google import Google, google_sandbox

from streamops_sandbox.google.app import PROJECT

ROOT = Path(__file__).resolve().parents[2]
VALUES = {
    "secrets_x_api_key": "Kq7-api-key-value",
    "secrets_x_api_secret": "Kq7-api-secret-value",
    "secrets_x_access_key": "Kq7-access-key-value",
    "secrets_x_access_secret": "Kq7-access-secret-value",
}
NAMES = {name.removeprefix("secrets_x_"): name for name in VALUES}
MARK = "Kq7"


@dataclass
class Play:
    """Plays on one host, whose variables are in a file."""

    google: Google
    folder: Path

    def run(
        self,
        *arguments: str,
        roles: tuple[str, ...] = ("gcp_cluster", "secrets"),
        hosts: tuple[str, ...] = ("cluster",),
        tasks: tuple[dict[str, Any], ...] = (),
        **variables: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run the roles; more variables come by a file, as values do not belong on a command line."""
        inventory = {"all": {"hosts": {h: {**self.variables(), **variables} for h in hosts}}}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
        play = {
            "hosts": "all",
            "gather_facts": False,
            "vars": {
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
            },
            "roles": [f"streamops.knative.{role}" for role in roles],
            "tasks": list(tasks),
        }
        (self.folder / "play.yml").write_text(yaml.safe_dump([play]))
        return subprocess.run(
            [
                str(Path(sys.executable).parent / "ansible-playbook"),
                "-i",
                str(self.folder / "hosts.yml"),
                str(self.folder / "play.yml"),
                *arguments,
            ],
            cwd=ROOT,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )

    def variables(self) -> dict[str, Any]:
        """What every run has."""
        return {
            "gcp_cluster_name": "pipeline",
            "gcp_cluster_project": PROJECT,
            "gcp_cluster_location": "europe-west1",
            "gcp_cluster_auth_kind": "serviceaccount",
            "gcp_cluster_service_account_file": str(self.google.key_file),
            "gcp_cluster_endpoint": self.google.url,
            "kubeconfig": str(self.folder / "kubeconfig"),
            **VALUES,
        }

    def environment(self) -> dict[str, str]:
        """Where Ansible keeps what it writes: in a folder of the test's own."""
        return {
            **os.environ,
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "ansible" / "tmp"),
            "ANSIBLE_REMOTE_TEMP": str(self.folder / "ansible" / "remote"),
            "ANSIBLE_LOG_PATH": str(self.folder / "ansible.log"),
            "ANSIBLE_NOCOLOR": "1",
        }

    def secrets(self) -> list[dict[str, Any]]:
        """The secrets in the store, without values."""
        found: list[dict[str, Any]] = self.google.run("gcp_secret_info")["secrets"]
        return found


@pytest.fixture
def new(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """A new project, in which no service is enabled."""
    with google_sandbox(tmp_path_factory.mktemp("google"), services=()) as google:
        yield Play(google, tmp_path_factory.mktemp("play"))


@pytest.fixture
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """A project with a cluster and its kubeconfig."""
    with google_sandbox(tmp_path_factory.mktemp("google")) as google:
        folder = tmp_path_factory.mktemp("play")
        cluster = {"name": "pipeline", "location": "europe-west1"}
        google.run("gke_cluster", **cluster)
        google.run("gke_kubeconfig", **cluster, path=str(folder / "kubeconfig"))
        google.calls()
        yield Play(google, folder)


def recap(result: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """The numbers of the last line."""
    found = re.search(r"^cluster +: (.*)$", result.stdout, re.MULTILINE)
    assert found, result.stdout + result.stderr
    return {k: int(v) for k, v in (pair.split("=") for pair in found[1].split())}


class Watch(threading.Thread):
    """Looks for the values while something runs: in all processes' command lines and environments,
    and in every file below a folder, however briefly it is there."""

    def __init__(self, folder: Path, *known: str) -> None:
        super().__init__(daemon=True)
        self._folder = folder
        self._known = known
        self.seen: set[str] = set()
        self.stop = threading.Event()

    def run(self) -> None:
        """Look until told to stop."""
        while not self.stop.wait(0.02):
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    self._look(process / name)
            for path in self._folder.rglob("*"):
                if path.name not in self._known:
                    self._look(path)

    def _look(self, path: Path) -> None:
        with contextlib.suppress(OSError):  # gone, a folder, or somebody else's
            if MARK.encode() in path.read_bytes():
                self.seen.add(str(path))


def differences(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines that --diff printed as changed."""
    return [line for line in result.stdout.splitlines() if re.match(r"[+-](?![+-])", line)]


def test_from_nothing_to_no_change(new: Play) -> None:
    first = new.run()
    assert recap(first)["failed"] == 0, first.stdout
    assert recap(first)["changed"] == 5
    api = config.new_client_from_config(str(new.folder / "kubeconfig"))
    assert client.VersionApi(api).get_code().major == "1"
    new.google.calls()
    assert recap(new.run())["changed"] == 0
    requests = new.google.calls()
    assert len(requests) <= 20, requests

    variables = {"gcp_cluster_release_channel": "RAPID", "secrets_x_api_key": f"{MARK}-new"}
    predicted = differences(new.run("--check", "--diff", **variables))
    assert predicted == [
        "-release_channel: REGULAR",
        "+release_channel: RAPID",
        "-  version: 1",
        "+  version: 2",
    ]
    assert differences(new.run("--diff", **variables)) == predicted, "just that, and only now"


def test_no_value_is_anywhere_but_in_the_store(new: Play) -> None:
    # the inventory that holds the values is no part of what runs
    watch = Watch(new.folder, "hosts.yml")
    watch.start()
    runs = [
        new.run("-vvvv", "--diff", "--check"),
        new.run("-vvvv", "--diff"),
        new.run("-vvvv", "--diff", secrets_x_api_key=f"{MARK}-{'long' * 20000}"),  # fails
        new.run("-vvvv", "--diff", roles=("secrets",), secrets_backend="kubernetes"),
    ]
    watch.stop.set()
    watch.join()
    for run in runs:
        assert run.returncode == (2 if run is runs[2] else 0), run.stdout
    assert "64 KiB" in runs[2].stdout
    encoded = [base64.b64encode(v.encode()).decode()[:12] for v in VALUES.values()]
    for run in runs:
        for text in (run.stdout, run.stderr):
            assert MARK not in text
            assert not any(part in text for part in encoded)
    assert watch.seen == set()
    left = [path for path in new.folder.rglob("*") if path.is_file() and path.name != "hosts.yml"]
    assert any(path.name == "ansible.log" for path in left)
    for path in left:
        assert MARK.encode() not in path.read_bytes(), path


def test_exactly_the_consumers_are_granted(play: Play) -> None:
    play.google.run(
        "gcp_secret", name="twitter-api-key", value="old", accessors=["user:ada@example.com"]
    )
    play.run(roles=("secrets",), secrets_consumers=[{"namespace": "b", "service_account": "two"}])
    secrets = play.secrets()
    assert {secret["id"] for secret in secrets} == {
        "twitter-api-key",
        "twitter-api-secret",
        "twitter-access-key",
        "twitter-access-secret",
    }
    for secret in secrets:
        (binding,) = secret["bindings"]
        assert binding["role"] == "roles/secretmanager.secretAccessor"
        assert [m.rpartition("/subject/")[2] for m in binding["members"]] == ["ns/b/sa/two"]


def test_hosts_that_share_the_secrets_add_one_version(play: Play) -> None:
    hosts = ("one", "two")
    slow = {"method": "secretmanager.*.access", "status": "OK", "seconds": 1, "times": 100}
    play.google.control("POST", "faults", slow)  # hosts at once would all read the old value
    for version in (1, 2):
        run = play.run(roles=("secrets",), hosts=hosts, secrets_x_api_key=f"{MARK}-{version}")
        assert run.returncode == 0, run.stdout
    versions = {secret["id"]: len(secret["versions"]) for secret in play.secrets()}
    assert versions.pop("twitter-api-key") == 2
    assert set(versions.values()) == {1}


def test_hosts_of_several_projects_do_not_take_each_others_grants(play: Play) -> None:
    shared = {
        "roles": ("secrets",),
        "hosts": ("one", "two"),
        "secrets_project": PROJECT,
        "gcp_cluster_project": "{{ 'project-' ~ inventory_hostname }}",
    }
    refused = play.run(**shared)
    assert refused.returncode == 2
    assert "project-one, project-two" in " ".join(refused.stdout.split())
    assert play.google.calls() == []


def test_administrators_are_who_is_in_the_list(play: Play) -> None:
    rbac = client.RbacAuthorizationV1Api(
        config.new_client_from_config(str(play.folder / "kubeconfig"))
    )
    admins = ["ada@example.com", "group:team@example.com"]
    for changed in (1, 0):
        result = play.run("--tags", "gcp_cluster_admins", gcp_cluster_admins=admins)
        assert recap(result)["changed"] == changed, result.stdout
    binding = rbac.read_cluster_role_binding("streamops-cluster-admins")
    assert [(s.kind, s.name) for s in binding.subjects] == [
        ("User", "ada@example.com"),
        ("Group", "team@example.com"),
    ]
    for changed in (1, 0):
        result = play.run("--tags", "gcp_cluster_admins", gcp_cluster_admins=[])
        assert recap(result)["changed"] == changed, result.stdout
    names = {b.metadata.name for b in rbac.list_cluster_role_binding().items}
    assert "streamops-cluster-admins" not in names


def test_workloads_that_act_as_a_google_service_account(play: Play) -> None:
    email = f"workloads@{PROJECT}.iam.gserviceaccount.com"
    result = play.run(gcp_cluster_workload_service_account=email)
    assert recap(result)["failed"] == 0, result.stdout
    for secret in play.secrets():
        assert secret["bindings"][0]["members"] == [f"serviceAccount:{email}"]
    member = f"serviceAccount:{PROJECT}.svc.id.goog[streamops/twitter-producer]"
    grant = {"service_account": email, "role": "roles/iam.workloadIdentityUser", "member": member}
    assert play.google.run("gcp_iam_member", **grant)["changed"] is False, "the role did it"


def test_kubernetes_secrets(play: Play) -> None:
    variables = {
        "roles": ("secrets",),
        "secrets_backend": "kubernetes",
        "secrets_consumers": [
            {"namespace": "one", "service_account": "x"},
            {"namespace": "two", "service_account": "x"},
        ],
    }
    assert recap(play.run(**variables))["changed"] == 1, "the namespaces and the Secrets"
    assert recap(play.run(**variables))["changed"] == 0
    core = client.CoreV1Api(config.new_client_from_config(str(play.folder / "kubeconfig")))
    for namespace in ("one", "two"):
        data = core.read_namespaced_secret("twitter-credentials", namespace).data
        assert {k: base64.b64decode(v).decode() for k, v in data.items()} == {
            key: VALUES[name] for key, name in NAMES.items()
        }
    # As the pipeline's role does.
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    core.patch_namespace(
        "one",
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "one", "labels": restricted},
        },
        field_manager="streamops.knative",
        _content_type="application/apply-patch+yaml",
    )
    assert recap(play.run(**variables))["changed"] == 0
    assert restricted.items() <= core.read_namespace("one").metadata.labels.items()
    warned = play.run(**variables, secrets_x_api_key=f"{VALUES['secrets_x_api_key']}\n")
    said = warned.stdout + warned.stderr
    assert "end in a newline" in said
    assert "mistake: secrets_x_api_key." in " ".join(said.split())
    assert MARK not in said
    fewer = {**variables, "secrets_consumers": variables["secrets_consumers"][:1]}
    assert recap(play.run(**fewer))["changed"] == 1
    left = [item.metadata.namespace for item in core.list_secret_for_all_namespaces().items]
    assert left.count("one") == 1
    assert "two" not in left, "a namespace without a consumer keeps no Secret"
    assert recap(play.run(secrets_state="absent", **variables))["changed"] == 1
    assert core.read_namespace("one").metadata.name == "one", "the namespace stays"


def test_bearer_is_stored_instead_of_the_keys(play: Play) -> None:
    bearer = {**dict.fromkeys(VALUES, ""), "secrets_x_bearer_token": f"{MARK}-bearer"}
    variables = {"roles": ("secrets",), **bearer}
    before = {secret["id"] for secret in play.secrets()}
    assert recap(play.run(**variables))["failed"] == 0
    assert {secret["id"] for secret in play.secrets()} - before == {"twitter-bearer-token"}
    assert recap(play.run(**variables))["changed"] == 0
    in_kubernetes = {**variables, "secrets_backend": "kubernetes"}
    assert recap(play.run(**in_kubernetes))["failed"] == 0
    core = client.CoreV1Api(config.new_client_from_config(str(play.folder / "kubeconfig")))
    data = core.read_namespaced_secret("twitter-credentials", "streamops").data
    assert {k: base64.b64decode(v).decode() for k, v in data.items()} == {
        "bearer_token": f"{MARK}-bearer"
    }
    named = play.run(**{**variables, "secrets_names": {"bearer_token": "b", "api_key": "a"}})
    assert "all four, or bearer_token alone" in " ".join(named.stdout.split())
    external = {"secrets_names": {"bearer_token": "its-bearer"}, "secrets_external": True}
    assert recap(play.run(**{**variables, **external}))["failed"] == 0
    assert "its-bearer" in {secret["id"] for secret in play.secrets()}


def test_everything_that_is_missing_is_named_at_once(play: Play) -> None:
    result = play.run(roles=("secrets",), **dict.fromkeys(VALUES, ""))
    for name in VALUES:
        assert f"{name} is empty" in result.stdout
    wrong = {
        "gcp_cluster_project": "",
        "gcp_cluster_location": "europe-west1-b",
        "kubeconfig": "",
        "gcp_cluster_state": "absent",
    }
    result = play.run(roles=("gcp_cluster",), **wrong)
    for part in (
        "gcp_cluster_project is empty",
        "not in the zone",
        "kubeconfig) is empty",
        "refused by gcp_cluster_deletion_protection",
    ):
        assert part in result.stdout
    assert recap(play.run(roles=("gcp_cluster",), gcp_cluster_name=""))["changed"] == 0
    assert play.google.calls() == [], "Google was asked nothing"


def test_absent(play: Play) -> None:
    play.google.run("gcp_secret", name="twitter-api-key", value="x")
    variables = {
        "gcp_cluster_state": "absent",
        "gcp_cluster_deletion_protection": False,
        "secrets_state": "absent",
    }
    assert recap(play.run(**variables))["changed"] == 3
    assert play.google.run("gke_cluster_info")["clusters"] == []
    assert play.secrets() == []
    assert recap(play.run(**variables))["changed"] == 0


def test_a_kubernetes_that_knative_is_too_new_for_is_refused_with_the_way_to_upgrade(
    play: Play,
) -> None:
    google = {"name": "old", "location": "europe-west1"}
    play.google.run("gke_cluster", **google, release_channel="STABLE")
    play.google.run("gke_kubeconfig", **google, path=str(play.folder / "old"))
    empty = play.folder / "releases"
    empty.mkdir()
    variables = {
        "gcp_cluster_name": "old",
        "kubeconfig": str(play.folder / "old"),
        "knative_eventing_version": "1.24.0",
        "knative_eventing_serving_version": "1.24.0",
        "knative_eventing_folder": str(empty),
    }
    play.google.calls()
    refused = play.run(roles=("knative_eventing",), **variables)
    told = " ".join((refused.stdout + refused.stderr).split())
    assert (
        "knative_eventing_serving_version: 1.24.0 needs Kubernetes 1.35, the cluster has"
        " v1.34.6-gke.1300"
    ) in told
    assert (
        "gcp_cluster_release_channel: Knative needs Kubernetes 1.35, and the cluster has"
        " 1.34.6-gke.1300; the release channel STABLE offers only 1.34.6-gke.1300,"
    ) in told
    assert "REGULAR (1.35.4-gke.1400)" in told
    assert "gcp_cluster_kubernetes_version: '1.35' and run site.yml" in told.replace(
        "1.35',", "1.35'"
    )

    upgrade = {"gcp_cluster_release_channel": "REGULAR", "gcp_cluster_kubernetes_version": "1.35"}
    both = play.run("--check", roles=("gcp_cluster", "knative_eventing"), **variables, **upgrade)
    told = " ".join((both.stdout + both.stderr).split())
    assert "has no serving-crds.yaml" in told, "what is left to refuse"
    assert "needs Kubernetes" not in told, "check mode counts on the upgrade that it plans"

    before = {"streamops.knative.preflight": {"roles": ["gcp_cluster", "knative_eventing"]}}
    channel = {"gcp_cluster_name": "new", "gcp_cluster_release_channel": "STABLE"}
    kubeconfig = str(play.folder / "new")
    new = play.run(roles=(), tasks=(before,), **{**variables, **channel, "kubeconfig": kubeconfig})
    told = " ".join((new.stdout + new.stderr).split())
    assert "and the cluster would get 1.34.6-gke.1300; the release channel STABLE offers" in told


def test_the_inventory_plugin(play: Play) -> None:
    shipped = yaml.safe_load((ROOT / "inventories/gke_found/clusters.gke.yml").read_text())
    labels = {"managed-by": "streamops-knative", "stage": "test", **shipped["labels"]}
    play.google.run("gke_cluster", name="pipeline", location="europe-west1", labels=labels)
    source = {
        "plugin": "streamops.knative.gke",
        "projects": [PROJECT],
        "auth_kind": "serviceaccount",
        "service_account_file": str(play.google.key_file),
        "endpoint": play.google.url,
        "labels": {"stage": "test"},
        "cache": True,
        "cache_plugin": "jsonfile",
        "cache_connection": str(play.folder / "cache"),
        "keyed_groups": [{"key": "gke.status | lower", "prefix": "status"}],
        "compose": {"registry": "gcp_cluster_location ~ '-docker.pkg.dev'"},
        "groups": {"composed": "registry is defined"},
    }
    file = play.folder / "test.gke.yml"

    def listed(*arguments: str, **changes: Any) -> dict[str, Any]:
        file.write_text(yaml.safe_dump({**source, **changes}))
        result = subprocess.run(
            [
                str(Path(sys.executable).parent / "ansible-inventory"),
                "-i",
                str(file),
                "--list",
                *arguments,
            ],
            cwd=ROOT,
            env={**play.environment(), "ANSIBLE_INVENTORY_UNPARSED_FAILED": "true"},
            # Ansible refuses one that does not block, as another child of this process may have left it.
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        found: dict[str, Any] = json.loads(
            result.stdout, object_hook=lambda o: o.get("__ansible_unsafe", o)
        )
        return found

    play.google.calls()
    found = listed()
    for group in (
        "knative_clusters",
        f"gke_project_{PROJECT}".replace("-", "_"),
        "gke_location_europe_west1",
        "gke_channel_regular",
        "gke_label_stage_test",
        "status_running",
        "composed",
    ):
        assert found[group]["hosts"] == ["pipeline"], group
    variables = found["_meta"]["hostvars"]["pipeline"]
    assert variables["gcp_cluster_autopilot"] is True
    assert variables["kubeconfig"] == str(play.folder / ".kube" / "pipeline.kubeconfig")
    assert variables["registry"] == "europe-west1-docker.pkg.dev"
    assert play.google.calls() == ["container.projects.locations.clusters.list"]
    listed()
    assert play.google.calls() == [], "the cache was used"
    assert "pipeline" not in str(listed(locations=["europe-north1"])["_meta"])
    assert play.google.calls(), "what was found with other options is not taken"
    assert "pipeline" not in str(listed(labels={"no": "such"})["_meta"])
    with pytest.raises(AssertionError, match="labels: stage: 1: not text"):
        listed(labels={"stage": 1})
    ours = {**shipped, "projects": [PROJECT], "cache": False}
    assert listed(**ours)["knative_clusters"]["hosts"] == ["pipeline"]
    play.google.calls()  # forgets them
    listed("--flush-cache")
    assert play.google.calls() == ["container.projects.locations.clusters.list"]

    undefined = {"compose": {"registry": "no_such_variable"}}
    assert "registry" not in listed(**undefined)["_meta"]["hostvars"]["pipeline"]
    with pytest.raises(AssertionError, match="'no_such_variable' is undefined"):
        listed(**undefined, strict=True)
    several = [PROJECT, "nowhere-at-all"]
    play.google.calls()
    for _ in range(2):  # and what is incomplete is not cached
        assert listed(projects=several)["knative_clusters"]["hosts"] == ["pipeline"]
        assert len(play.google.calls()) == 2
    with pytest.raises(AssertionError, match="project nowhere-at-all"):
        listed(projects=several, strict=True)
    with pytest.raises(AssertionError, match="project nowhere-at-all"):
        listed(projects=several[1:])

    listed()
    adopted = play.run("-i", str(file), "--limit", "pipeline", roles=("gcp_cluster",))
    assert re.search(r"^pipeline +: .*failed=0 ", adopted.stdout, re.MULTILINE), adopted.stdout
    assert (play.folder / ".kube" / "pipeline.kubeconfig").exists()
