"""gke_cluster, gke_kubeconfig, gcp_services, accounts, repositories and grants against the stand-in."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config
from support.google import Google, google_sandbox, run_module
from support.sandbox import until

from ansible_collections.streamops.knative.plugins.module_utils._google.argspec import (
    GOOGLE,
    session,
)
from ansible_collections.streamops.knative.plugins.modules.gke_kubeconfig import Kubeconfig
from streamops_sandbox.google.app import ACCOUNT, PROJECT
from streamops_sandbox.google.service_usage.services import TITLES

NAMESPACE = {"kind": "Namespace", "name": "default"}
LOCATION = "europe-west1"


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    with google_sandbox(tmp_path_factory.mktemp("google")) as running:
        yield running


def gke(google: Google, name: str, **options: Any) -> dict[str, Any]:
    """Run gke_cluster."""
    return google.run("gke_cluster", **{"name": name, "location": LOCATION, **options})


def cluster(google: Google, name: str) -> dict[str, Any]:
    """The cluster as the API describes it."""
    (found,) = google.run("gke_cluster_info", name=name, location=LOCATION)["clusters"]
    return dict(found)


def kubeconfig(google: Google, path: Path, **options: Any) -> dict[str, Any]:
    """Run gke_kubeconfig for the cluster `auto`."""
    options = {"name": "auto", "location": LOCATION, "path": str(path), **options}
    return google.run("gke_kubeconfig", **options)


@pytest.fixture(scope="module")
def auto(google: Google) -> str:
    """An Autopilot cluster."""
    created = gke(google, "auto", labels={"team": "streaming"})
    assert created["changes"] == ["create cluster auto"]
    assert created["cluster"]["status"] == "RUNNING"
    assert gke(google, "auto", labels={"team": "streaming"})["changed"] is False
    return "auto"


def test_services(google: Google) -> None:
    services = ["pubsub.googleapis.com", "dns.googleapis.com"]
    predicted = google.run(
        "gcp_services", services=services, _ansible_check_mode=True, _ansible_diff=True
    )
    assert predicted["diff"]["before"].count("disabled") == 2
    assert google.run("gcp_services", services=services)["changed"] is True
    assert google.run("gcp_services", services=services)["changed"] is False
    asked = [*services, "storage.googleapis.com"]
    read = google.run("gcp_services_info", services=asked)
    assert read["services"] == {**dict.fromkeys(services, True), "storage.googleapis.com": False}
    assert read["project_number"].isdigit()
    enabled = google.run("gcp_services_info")["services"]
    assert set(services) <= set(enabled)
    assert set(enabled.values()) == {True}
    gone = google.run("gcp_services", services=services, state="absent")
    assert gone["changes"] == ["disable dns.googleapis.com, pubsub.googleapis.com"]
    blocked = {"services": ["compute.googleapis.com"], "state": "absent"}
    google.run("gcp_services", services=["container.googleapis.com", "compute.googleapis.com"])
    assert "depended on" in google.run("gcp_services", **blocked)["msg"]


def test_more_services_than_one_request_takes(google: Google, tmp_path: Path) -> None:
    member = f"serviceAccount:{ACCOUNT}"
    google.control("POST", "projects", {"projectId": "many-services", "owners": [member]})
    names = sorted(set(TITLES) | {"a.googleapis.com"})
    failed = google.run("gcp_services", project="many-services", services=names)
    assert "a.googleapis.com" in failed["msg"]
    done = google.run("gcp_services", project="many-services", services=sorted(TITLES))
    assert done["changed"] is True


def test_what_is_shown_is_what_changes_and_nothing_else(google: Google, auto: str) -> None:
    options = {
        "release_channel": "STABLE",
        "secret_manager_addon": True,
        "dns_endpoint": True,
        "private_nodes": True,
        "authorized_networks": [{"cidr": "203.0.113.0/24", "name": "office"}],
        "labels": {"team": "streaming", "stage": "test"},
        "maintenance_window": {
            "start": "2026-01-03T00:00:00Z",
            "end": "2026-01-03T06:00:00Z",
            "recurrence": "FREQ=WEEKLY;BYDAY=SA",
        },
    }
    before = cluster(google, auto)
    predicted = gke(google, auto, **options, _ansible_check_mode=True, _ansible_diff=True)
    assert cluster(google, auto) == before
    assert predicted["changed"] is True
    google.calls()
    done = gke(google, auto, **options, _ansible_diff=True)
    assert (done["changes"], done["diff"]) == (predicted["changes"], predicted["diff"])
    updates = [m for m in google.calls() if m.endswith((".update", "setResourceLabels", "Policy"))]
    assert len(updates) == len(done["changes"]) == 7, "one field per call"
    assert gke(google, auto, **options)["changed"] is False
    assert cluster(google, auto)["resourceLabels"] == options["labels"]


def test_an_older_control_plane_is_upgraded_to_what_the_channel_offers(
    google: Google, tmp_path: Path
) -> None:
    made = gke(google, "aged", release_channel="STABLE", kubernetes_version="1.34")
    assert made.get("changes") == ["create cluster aged"], made
    read = google.run("gke_cluster_info", name="aged", location=LOCATION, versions=True)
    assert "versions" in read, read
    assert read["versions"]["STABLE"] == ["1.34.6-gke.1300", "1.33.9-gke.1100"]
    assert read["clusters"][0]["currentMasterVersion"] == "1.34.6-gke.1300"
    anywhere = google.run("gke_cluster_info", name="aged", versions=True)
    assert "versions: they are those of one location" in anywhere["msg"]

    google.calls()
    refused = gke(google, "aged", kubernetes_version="1.35")
    assert "the release channel STABLE has no 1.35, but 1.34.6-gke.1300, 1.33.9" in refused["msg"]
    assert "release_channel to RAPID or REGULAR or EXTENDED, which has 1.35" in refused["msg"]
    assert not [call for call in google.calls() if call.endswith("update")], "nothing was touched"

    options = {"release_channel": "REGULAR", "kubernetes_version": "1.35"}
    predicted = gke(google, "aged", **options, _ansible_check_mode=True, _ansible_diff=True)
    done = gke(google, "aged", **options, _ansible_diff=True)
    assert done["changes"] == ["change release_channel", "change kubernetes_version"]
    assert (done["changes"], done["diff"]) == (predicted["changes"], predicted["diff"])
    assert done["cluster"]["currentMasterVersion"] == "1.35.4-gke.1400"
    kubeconfig(google, tmp_path / "config", name="aged")
    api = config.new_client_from_config(str(tmp_path / "config"))
    assert client.VersionApi(api).get_code().git_version == "v1.35.4-gke.1400"
    google.calls()
    assert gke(google, "aged", **options)["changed"] is False
    assert gke(google, "aged", kubernetes_version="1.34")["changed"] is False, "it is newer"
    assert {call.rpartition(".")[2] for call in google.calls()} == {"get"}, "nothing else is read"


def test_what_cannot_be_changed_is_refused_by_name(google: Google, auto: str) -> None:
    google.calls()
    refused = gke(google, auto, autopilot=False, network="vpc-2", release_channel="RAPID")
    assert refused["failed"] is True
    assert "autopilot is True, not False" in refused["msg"]
    assert "network is 'default', not 'vpc-2'" in refused["msg"]
    assert google.calls() == ["container.projects.locations.clusters.get"], "nothing was touched"


def test_a_standard_cluster_and_its_node_pool(google: Google) -> None:
    options = {
        "location": f"{LOCATION}-b",
        "autopilot": False,
        "node_pool": {
            "machine_type": "e2-standard-2",
            "min_nodes": 1,
            "max_nodes": 2,
            "spot": True,
        },
    }
    assert gke(google, "standard", **options)["changed"] is True
    assert gke(google, "standard", **options)["changed"] is False
    options["node_pool"] = {**options["node_pool"], "max_nodes": 5, "machine_type": "e2-standard-8"}
    changed = gke(google, "standard", **options)
    assert changed["changes"] == [
        "change autoscaling of default-pool",
        "change machine type of default-pool",
    ]
    assert gke(google, "standard", **options)["changed"] is False
    options["node_pool"]["spot"] = False
    assert "node_pool.spot" in gke(google, "standard", **options)["msg"]
    protected = gke(google, "standard", location=f"{LOCATION}-b", state="absent")
    assert "is protected" in protected["msg"]
    gone = {"location": f"{LOCATION}-b", "state": "absent", "deletion_protection": False}
    assert gke(google, "standard", **gone)["changes"] == ["delete cluster standard"]
    assert gke(google, "standard", **gone)["changed"] is False


def test_further_fields_pass_through(google: Google, auto: str) -> None:
    addons = {"addonsConfig": {"gcsFuseCsiDriverConfig": {"enabled": True}}}
    assert gke(google, auto, cluster=addons)["changes"] == ["change addonsConfig"]
    assert gke(google, auto, cluster=addons)["changed"] is False
    odd = gke(google, auto, cluster={"enableKubernetesAlpha": True})
    assert "cluster.enableKubernetesAlpha is None, not True" in odd["msg"]
    typo = gke(google, auto, cluster={"addonsConfig": {"gcsFuse": True}})
    assert 'Unknown name "gcsFuse"' in typo["msg"], "Google's description was asked"


def test_a_cluster_that_somebody_changes_at_the_moment(google: Google, auto: str) -> None:
    """The module waits for an operation that is under way."""
    google.control("POST", "operation-faults", {"type": "UPDATE_CLUSTER", "seconds": 5})
    first = threading.Thread(target=_update_directly, args=(google, auto))
    first.start()
    until(lambda: cluster_labels(google, auto)["status"] == "RECONCILING", "the other's operation")
    changed = gke(google, auto, labels={"second": "yes"})
    first.join()
    assert changed["changed"] is True, changed
    assert cluster(google, auto)["resourceLabels"]["second"] == "yes"


def test_what_begins_between_reading_and_writing(google: Google, auto: str) -> None:
    """An operation of somebody else is waited for, and what it changed is read before writing."""
    read = "container.projects.locations.clusters.get"
    google.control("POST", "faults", {"method": read, "status": "OK", "seconds": 4})
    google.control("POST", "operation-faults", {"type": "UPDATE_CLUSTER", "seconds": 1.5})
    result: dict[str, Any] = {}
    ours = threading.Thread(target=lambda: result.update(gke(google, auto, labels={"ours": "1"})))
    before = cluster_labels(google, auto)
    ours.start()
    until(lambda: read in google.calls(), "the module's reading")
    path = f"v1/projects/{PROJECT}/locations/{LOCATION}/clusters/{auto}"
    body = {
        "resourceLabels": {**before["resourceLabels"], "theirs": "1"},
        "labelFingerprint": before["labelFingerprint"],
    }
    _directly(google, "POST", f"{path}:setResourceLabels", body)
    ours.join()
    assert result.get("changed") is True, result
    found = cluster(google, auto)["resourceLabels"]
    assert (found["ours"], found["theirs"]) == ("1", "1"), "neither was lost"


def cluster_labels(google: Google, name: str) -> dict[str, Any]:
    """A cluster with its labels and their fingerprint, by a list, which is another method than the module's."""
    path = f"v1/projects/{PROJECT}/locations/-/clusters"
    found = google.call("GET", path, token=google.owner_token)[1]["clusters"]
    return next(c for c in found if c["name"] == name)


def _update_directly(google: Google, name: str) -> None:
    path = f"v1/projects/{PROJECT}/locations/{LOCATION}/clusters/{name}"
    update = {"desiredVerticalPodAutoscaling": {"enabled": True}}
    _directly(google, "PUT", path, {"update": update})


def _directly(google: Google, method: str, path: str, body: dict[str, Any]) -> None:
    status, answer = google.call(method, path, body, token=google.owner_token)
    assert status == 200, answer


def test_an_operation_that_outlasts_its_timeout(google: Google) -> None:
    google.control("POST", "operation-faults", {"type": "CREATE_CLUSTER", "seconds": 6})
    failed = gke(google, "slow", wait_timeout=1)
    assert "still RUNNING" in failed["msg"]
    assert "wait_timeout" in failed["msg"]
    finished = gke(google, "slow")
    assert finished.get("failed") is None, finished
    assert finished["changed"] is False, "the second run waited for what the first began"
    gke(google, "slow", state="absent", deletion_protection=False)


def test_a_creation_that_fails(google: Google) -> None:
    fault = {"type": "CREATE_CLUSTER", "message": "Insufficient regional quota: CPUS"}
    google.control("POST", "operation-faults", fault)
    failed = gke(google, "unlucky")
    assert "Insufficient regional quota" in failed["msg"]
    again = gke(google, "unlucky")
    assert "is in ERROR" in again["msg"]
    assert "Delete it" in again["msg"]
    assert gke(google, "unlucky", state="absent", deletion_protection=False)["changed"] is True


def test_a_kubeconfig_that_works(google: Google, auto: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "config"
    written = kubeconfig(google, path)
    assert written["changed"] is True
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    api = config.new_client_from_config(str(path))
    review = client.AuthenticationV1Api(api).create_self_subject_review({})
    assert review.status.user_info.username == ACCOUNT
    assert kubeconfig(google, path)["changed"] is False


def test_a_token_is_renewed_in_time(google: Google, auto: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    kubeconfig(google, path)
    old = yaml.safe_load(path.read_text())["users"][0]["user"]["token"]
    renewed = kubeconfig(google, path, min_token_validity=7200)
    assert (renewed["changed"], renewed["token_renewed"]) == (False, True)
    new = yaml.safe_load(path.read_text())["users"][0]["user"]["token"]
    assert new != old
    assert new not in json.dumps(renewed)


@pytest.mark.parametrize("before", ["no file", "expired", "revoked", "fresh"])
def test_check_mode_has_a_token_of_its_own(
    google: Google, auto: str, tmp_path: Path, before: str
) -> None:
    path = tmp_path / "config"
    if before != "no file":
        kubeconfig(google, path)
    if before in ("expired", "revoked"):
        spoil(path, expired=before == "expired")
    content = path.read_bytes() if path.exists() else None
    planned = kubeconfig(google, path, _ansible_check_mode=True)
    assert planned["changed"] is (before == "no file")
    assert (path.read_bytes() if path.exists() else None) == content, "nothing is written"
    read = run_module("resource_info", {**NAMESPACE, "kubeconfig": planned["planned_kubeconfig"]})
    assert read.get("resources"), read


def test_a_token_that_ran_out_is_replaced_in_memory(
    google: Google, auto: str, tmp_path: Path
) -> None:
    """Without gke_kubeconfig, as in the middle of a long wait, and once only."""
    path = tmp_path / "config"
    kubeconfig(google, path)
    for expired in (True, False):
        spoil(path, expired=expired)
        content = path.read_bytes()
        read = run_module("resource_info", {**NAMESPACE, "kubeconfig": str(path)})
        assert read.get("resources"), read
        assert path.read_bytes() == content
    google.key_file.rename(tmp_path / "key")
    try:
        refused = run_module("resource_info", {**NAMESPACE, "kubeconfig": str(path)})
    finally:
        (tmp_path / "key").rename(google.key_file)
    assert "no new token from Google: service_account_file cannot be read" in refused["msg"]


def spoil(path: Path, *, expired: bool) -> None:
    """Put another token into a kubeconfig: one that has `expired`, or that the server refuses all the same."""
    content = yaml.safe_load(path.read_text())
    user = content["users"][0]["user"]
    user["token"] = "expired"
    user["extensions"][0]["extension"]["expires"] = f"{2020 if expired else 2120}-01-01T00:00:00Z"
    path.write_text(yaml.safe_dump(content))


def test_other_entries_of_a_kubeconfig_stay(google: Google, auto: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    mine = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "mine", "cluster": {"server": "https://mine"}}],
        "users": [{"name": "me", "user": {"token": "t"}}],
        "contexts": [{"name": "mine", "context": {"cluster": "mine", "user": "me"}}],
        "current-context": "mine",
        "preferences": {"colors": True},
    }
    path.write_text(yaml.safe_dump(mine))
    path.chmod(0o644)
    kubeconfig(google, path, context="gke", set_current=False, auth="exec")
    merged = yaml.safe_load(path.read_text())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert merged["current-context"] == "mine"
    assert [c["name"] for c in merged["contexts"]] == ["mine", "gke"]
    assert merged["users"][1]["user"]["exec"]["command"] == "gke-gcloud-auth-plugin"
    kubeconfig(google, path, context="gke", state="absent")
    assert yaml.safe_load(path.read_text()) == mine
    assert kubeconfig(google, path, context="gke", state="absent")["changed"] is False


def test_a_kubeconfig_that_is_a_link_stays_one(google: Google, auto: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "config"
    path = tmp_path / "config"
    path.symlink_to(target)
    assert kubeconfig(google, path)["changed"] is True
    assert path.is_symlink()
    assert yaml.safe_load(target.read_text())["current-context"]
    assert kubeconfig(google, path)["changed"] is False


def test_a_file_that_is_no_kubeconfig_is_left_alone(
    google: Google, auto: str, tmp_path: Path
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("- not: mine\n")
    assert "was not changed" in kubeconfig(google, path)["msg"]
    assert path.read_text() == "- not: mine\n"


def test_kubeconfigs_of_a_fleet_in_one_file(google: Google, auto: str, tmp_path: Path) -> None:
    """Several hosts write at the same time; each entry survives."""
    path = tmp_path / "fleet"
    options = {**google.options(), "name": "auto", "location": LOCATION, "path": str(path)}
    defaults = {name: spec.get("default") for name, spec in GOOGLE.items()}
    rest = {"state": "present", "set_current": True, "auth": "exec", "endpoint_type": "ip"}

    def write(number: int) -> None:
        params = {**defaults, **options, **rest, "context": f"c{number}"}
        for _, step in Kubeconfig(session(params), params).plan().steps:
            step()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {c["name"] for c in yaml.safe_load(path.read_text())["contexts"]}
    assert names == {f"c{n}" for n in range(8)}


def test_dns_endpoint_only_where_it_is_on(google: Google, tmp_path: Path) -> None:
    gke(google, "closed")
    options = {"name": "closed", "endpoint_type": "dns"}
    refused = kubeconfig(google, tmp_path / "config", **options)
    assert "dns_endpoint: true" in refused["msg"]
    gke(google, "closed", dns_endpoint=True)
    kubeconfig(google, tmp_path / "config", **options)
    entry = yaml.safe_load((tmp_path / "config").read_text())["clusters"][0]["cluster"]
    assert entry["server"].endswith(".gke.goog")
    assert "certificate-authority-data" not in entry


def test_service_accounts_and_who_may_act_as_them(google: Google, tmp_path: Path) -> None:
    options = {"name": "pipeline", "display_name": "Pipeline"}
    created = google.run("gcp_service_account", **options)
    email = created["email"]
    assert google.run("gcp_service_account", **options)["changed"] is False
    changed = google.run("gcp_service_account", name="pipeline", description="Reads posts")
    assert changed["changes"] == [f"change description of {email}"]
    assert google.run("gcp_service_account", name="pipeline", disabled=True)["changed"] is True
    assert google.run("gcp_service_account", name="pipeline", disabled=True)["changed"] is False

    member = f"serviceAccount:{PROJECT}.svc.id.goog[streamops/producer]"
    grant = {"service_account": email, "role": "roles/iam.workloadIdentityUser", "member": member}
    predicted = google.run("gcp_iam_member", **grant, _ansible_check_mode=True)
    assert google.run("gcp_iam_member", **grant)["changes"] == predicted["changes"]
    assert google.run("gcp_iam_member", **grant)["changed"] is False
    binding = {"role": grant["role"], "members": [member]}
    policy = google.run("gcp_iam_policy_info", service_account=email)
    assert policy["bindings"] == [binding]
    names = ["pipeline", "not-there"]
    (account,) = google.run("gcp_service_account_info", names=names)["service_accounts"]
    assert (account["email"], account["disabled"]) == (email, True)
    assert account["bindings"] == [binding]
    assert google.run("gcp_iam_member", **grant, state="absent")["changed"] is True
    assert google.run("gcp_service_account", name="pipeline", state="absent")["changed"] is True
    assert google.run("gcp_service_account", name="pipeline", state="absent")["changed"] is False


def test_impersonation(google: Google) -> None:
    email = google.run("gcp_service_account", name="deputy")["email"]
    role = "roles/iam.serviceAccountTokenCreator"
    grant = {"service_account": email, "role": role, "member": f"serviceAccount:{ACCOUNT}"}
    google.run("gcp_iam_member", **grant)
    deputy = {**google.options(), "impersonate_service_account": email}
    denied = run_module("gcp_secret_info", deputy)
    assert "roles/secretmanager.admin" in denied["msg"]
    assert email in denied["msg"], "who lacks the permission is the account acted as"
    google.run("gcp_iam_member", role="roles/secretmanager.admin", member=f"serviceAccount:{email}")
    assert run_module("gcp_secret_info", deputy)["secrets"] == []


def test_a_grant_on_the_project_keeps_conditions_of_others(google: Google) -> None:
    role = "roles/secretmanager.viewer"
    soon = {"title": "soon", "expression": 'request.time < timestamp("2999-01-01T00:00:00Z")'}
    google.run("gcp_iam_member", role=role, member="user:bob@example.com", condition=soon)
    google.run("gcp_iam_member", role=role, member="user:ada@example.com")
    google.run("gcp_iam_member", role=role, member="user:ada@example.com", state="absent")
    kept = google.run("gcp_iam_member", role=role, member="user:bob@example.com", condition=soon)
    assert kept["changed"] is False


def test_repositories(google: Google) -> None:
    options = {"name": "images", "location": LOCATION, "labels": {"a": "b"}}
    created = google.run("artifact_repository", **options, readers=["user:ada@example.com"])
    assert created["registry"] == f"{LOCATION}-docker.pkg.dev/{PROJECT}/images"
    assert len(created["changes"]) == 2
    again = google.run("artifact_repository", **options, readers=["user:ada@example.com"])
    assert again["changed"] is False
    changed = google.run("artifact_repository", **options, immutable_tags=True, _ansible_diff=True)
    assert changed["changes"] == ["change dockerConfig of repository images"]
    (found,) = google.run("artifact_repository_info", location=LOCATION)["repositories"]
    assert found["labels"] == {"a": "b"}
    assert google.run("artifact_repository", **options, state="absent")["changed"] is True
    assert google.run("artifact_repository_info", location=LOCATION)["repositories"] == []
