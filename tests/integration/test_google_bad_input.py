"""Each thing that can be wrong has its own clear error, before anything is touched where possible."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.google import Google, google_sandbox, run_module
from support.ports import free_port

from streamops_sandbox.google.app import ACCOUNT, PROJECT

VALUE = "correct-horse-battery"
KEY_VARIABLES = ("GOOGLE_APPLICATION_CREDENTIALS", "GCP_PROJECT", "GCP_SERVICE_ACCOUNT_FILE")


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    with google_sandbox(tmp_path_factory.mktemp("google")) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


def message(google: Google, module: str, **options: Any) -> str:
    """What a module fails with."""
    result = google.run(module, **options)
    assert result.get("failed"), result
    return str(result["msg"])


@pytest.mark.parametrize(
    ("module", "options", "parts"),
    [
        ("gcp_secret", {"name": "a b"}, ["name: 'a b'", "1 to 255"]),
        ("gcp_secret", {"name": "a", "value": "x" * 65537}, ["65537 bytes", "64 KiB"]),
        ("gcp_secret", {"name": "a", "value": ""}, ["the value is empty", "lookup"]),
        ("gcp_secret", {"name": "a", "value_base64": "?"}, ["not valid Base64"]),
        ("gcp_secret", {"name": "a", "value": 83}, ["value is a number, not a text: put it in"]),
        ("gcp_secret", {"name": "a", "value": 1.1}, ["value is a number, not a text"]),
        ("gcp_secret", {"name": "a", "value": True}, ["value is a boolean, not a text"]),
        ("gcp_secret", {"name": "a", "value_base64": 1234}, ["value_base64 is a number, not a"]),
        (
            "gcp_secret",
            {"secrets": [{"name": "a", "value": {"k": "v"}}]},
            ["a mapping, not a text"],
        ),
        (
            "gcp_secret",
            {"name": "a", "value": VALUE, "value_base64": "eA=="},
            ["mutually exclusive"],
        ),
        ("gcp_secret", {"name": "a", "version": "1"}, ["version_state"]),
        ("gcp_services", {"services": ["secretmanager"]}, ["not a valid service name"]),
        (
            "gke_cluster",
            {"name": "x" * 41, "location": "europe"},
            ["1 to 40", "neither a region"],
        ),
        ("gke_cluster", {"name": "x", "location": "europe-west1-b"}, ["regional", "europe-west1,"]),
        (
            "gke_cluster",
            {"name": "x", "location": "europe-west1", "node_pool": {"spot": True}},
            ["an Autopilot cluster has none"],
        ),
        (
            "gke_cluster",
            {
                "name": "x",
                "location": "europe-west1",
                "labels": {"Team": "A"},
                "authorized_networks": [{"cidr": "10.0.0.1"}],
            },
            ["labels: Team=A", "not a valid CIDR block"],
        ),
        ("artifact_repository", {"name": "A", "location": "europe-west1"}, ["1 to 63"]),
        ("gcp_service_account", {"name": "tiny"}, ["6 to 30"]),
        ("gcp_service_account_info", {"name": "tiny"}, ["6 to 30"]),
        ("gcp_services_info", {"services": ["dns"]}, ["not a valid service name"]),
        (
            "gcp_iam_member",
            {"role": "viewer", "member": "user:ada@example.com"},
            ["'viewer' is not a valid role"],
        ),
        (
            "gcp_iam_member",
            {"role": "roles/viewer", "member": "ada@example.com"},
            ["'ada@example.com' is not a valid member"],
        ),
        ("gcp_iam_member", {"role": "roles/viewer"}, ["give at least one member"]),
        (
            "gcp_secret",
            {"name": "a", "accessors": ["ada"]},
            ["accessors: 'ada' is not a valid member"],
        ),
        ("gcp_secret", {"secrets": [{"name": "a"}, {"name": "a"}]}, ["a is named more than once"]),
        ("gcp_secret", {"name": "a", "keep_versions": 0}, ["keep_versions is at least 1"]),
        (
            "gcp_secret",
            {"name": "a", "version": "1", "version_state": "disabled", "state": "absent"},
            ["state: absent belongs in a task of its own"],
        ),
        (
            "gcp_secret",
            {"name": "a", "version": "1", "version_state": "disabled", "labels": {"a": "b"}},
            ["labels belongs in a task of its own"],
        ),
        (
            "gcp_secret",
            {"name": "a", "rotation": {"next_time": "tomorrow"}},
            ["'tomorrow' is not a valid RFC 3339 time"],
        ),
        (
            "gke_cluster",
            {"name": "a/b", "location": "europe-west1", "state": "absent"},
            ["'a/b' is not a valid cluster name"],
        ),
        (
            "gke_cluster_info",
            {"name": "A", "location": "europe-west1"},
            ["not a valid cluster name"],
        ),
        (
            "gke_kubeconfig",
            {"name": "A", "location": "europe-west1", "path": "/nowhere/x"},
            ["not a valid cluster name"],
        ),
        (
            "gke_cluster",
            {
                "name": "x",
                "location": "europe-west1",
                "cluster": {"releaseChannel": {"channel": "RAPID"}},
                "authorized_networks": [{"cidr": "300.0.0.0/8"}],
                "maintenance_window": {"start": "now", "end": "later", "recurrence": "FREQ=DAILY"},
            },
            [
                "use the option release_channel",
                "'300.0.0.0/8' is not a valid CIDR",
                "window.start: 'now' is not a valid RFC 3339 time",
            ],
        ),
        (
            "gke_cluster",
            {
                "name": "x",
                "location": "europe-west1",
                "autopilot": False,
                "node_pool": {"name": "A", "min_nodes": 5, "max_nodes": 2},
            },
            ["'A' is not a valid node pool name", "min_nodes 5 is more than max_nodes 2"],
        ),
        (
            "artifact_repository",
            {"name": "a", "location": "europe-west1-b"},
            ["location: 'europe-west1-b' is neither"],
        ),
        (
            "artifact_repository",
            {"name": "a", "location": "europe", "project": "704512398001"},
            ["the ID is needed here"],
        ),
        (
            "gcp_secret_info",
            {"endpoint": "localhost:80"},
            ["endpoint: 'localhost:80' is not a valid URL"],
        ),
        (
            "gcp_secret_info",
            {"endpoints": {"iam": "http://x:y"}},
            ["endpoints: iam: 'http://x:y' is not a valid URL"],
        ),
        ("gcp_secret_info", {"request_retries": -1}, ["request_retries is at least 0"]),
        ("gcp_secret_info", {"project": "No Project"}, ["not a valid project ID"]),
        ("gcp_secret_info", {"endpoints": {"secrets": "http://x"}}, ["secrets is none of"]),
    ],
)
def test_what_google_would_refuse_is_not_sent(
    google: Google, module: str, options: dict[str, Any], parts: list[str]
) -> None:
    google.calls()
    text = message(google, module, **options)
    for part in parts:
        assert part in text
    assert google.calls() == []


def test_no_project(google: Google) -> None:
    options = {k: v for k, v in google.options().items() if k != "project"}
    assert "GCP_PROJECT" in run_module("gcp_secret_info", options)["msg"]


def test_a_project_that_does_not_exist(google: Google) -> None:
    text = message(google, "gcp_secret", project="nowhere-at-all", name="a", value=VALUE)
    assert "nowhere-at-all" in text
    assert "it does not exist, or the caller may not use it" in text


def test_an_api_that_is_not_enabled(google: Google) -> None:
    owner = f"serviceAccount:{ACCOUNT}"
    google.control("POST", "projects", {"projectId": "bare-project", "owners": [owner]})
    text = message(google, "gcp_secret", project="bare-project", name="a", value=VALUE)
    assert "Secret Manager API has not been used in project" in text
    assert "streamops.knative.gcp_services" in text
    assert "secretmanager.googleapis.com" in text


def test_billing_is_off(google: Google) -> None:
    owner = f"serviceAccount:{ACCOUNT}"
    google.control("POST", "projects", {"projectId": "poor-project", "owners": [owner]})
    services = ["container.googleapis.com"]
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "UREQ_PROJECT_BILLING_NOT_FOUND",
        "domain": "serviceusage.googleapis.com/billing-enabled",
        "metadata": {"project": "704512398001", "services": services[0]},
    }
    fault = {
        "method": "serviceusage.services.batchEnable",
        "status": "FAILED_PRECONDITION",
        "message": "Billing account for project '704512398001' is not found. Billing must be enabled"
        f" for activation of service(s) '{services[0]}' to proceed.",
        "details": [info],
    }
    google.control("POST", "faults", fault)
    text = message(google, "gcp_services", project="poor-project", services=services)
    assert "Billing must be enabled" in text
    assert "gcloud billing projects link" in text


def test_a_permission_is_missing(google: Google, tmp_path: Path) -> None:
    member = f"serviceAccount:weak@{PROJECT}.iam.gserviceaccount.com"
    weak = google.control("POST", "principals", {"member": member, "project": PROJECT})
    (tmp_path / "weak.json").write_text(json.dumps(weak))
    options = {**google.options(), "service_account_file": str(tmp_path / "weak.json")}
    options |= {"name": "a", "value": VALUE}
    text = run_module("gcp_secret", options)["msg"]
    assert "secretmanager.secrets.get" in text, "which"
    assert f"weak@{PROJECT}" in text, "who"
    assert "add-iam-policy-binding" in text, "how to grant it"
    assert "roles/secretmanager.admin" in text


def test_a_quota_is_used_up(google: Google) -> None:
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "RATE_LIMIT_EXCEEDED",
        "domain": "googleapis.com",
        "metadata": {"quota_limit": "clusters", "quota_limit_value": "0"},
    }
    failure = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": []}
    fault = {
        "method": "container.projects.locations.clusters.create",
        "status": "RESOURCE_EXHAUSTED",
        "message": "Quota limit 'clusters' has been exceeded. Limit: 0.",
        "details": [info, failure],
    }
    google.control("POST", "faults", fault)
    text = message(google, "gke_cluster", name="one-more", location="europe-west1")
    assert google.control("DELETE", "faults") == {}
    assert "RESOURCE_EXHAUSTED" in text
    assert "The quota is clusters" in text


def test_there_are_no_credentials(google: Google) -> None:
    options = {"project": PROJECT, "endpoint": google.url}
    text = run_module("gcp_secret_info", options)["msg"]
    assert "gcloud auth application-default login" in text


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"auth_kind": "serviceaccount"}, "GCP_SERVICE_ACCOUNT_FILE"),
        ({"auth_kind": "accesstoken"}, "GCP_ACCESS_TOKEN"),
        ({"auth_kind": "serviceaccount", "service_account_file": "/nowhere"}, "cannot be read"),
        (
            {"auth_kind": "serviceaccount", "service_account_contents": "{}"},
            "not a service account key",
        ),
        ({"auth_kind": "accesstoken", "access_token": "ya29.x"}, "expired, revoked"),
    ],
)
def test_credentials_that_are_wrong(google: Google, options: dict[str, Any], part: str) -> None:
    base = {"project": PROJECT, "endpoint": google.url}
    assert part in run_module("gcp_secret_info", {**base, **options})["msg"]


def test_a_key_that_was_deleted(google: Google) -> None:
    member = f"serviceAccount:other@{PROJECT}.iam.gserviceaccount.com"
    gone = google.control("POST", "principals", {"member": member, "project": PROJECT})
    gone["private_key_id"] = "0" * 40
    options = {**google.options(), "service_account_contents": json.dumps(gone)}
    del options["service_account_file"]
    result = run_module("gcp_secret_info", options)
    assert "UNAUTHENTICATED" in result["msg"]
    assert gone["private_key"] not in json.dumps(result)


def test_a_service_that_is_down_for_a_moment_and_for_long(google: Google) -> None:
    fault = {"method": "secretmanager.*", "status": "UNAVAILABLE", "times": 2}
    google.control("POST", "faults", fault)
    assert google.run("gcp_secret_info")["secrets"] == []
    google.control("POST", "faults", {**fault, "times": 100})
    try:
        text = message(google, "gcp_secret_info", request_retries=1)
    finally:
        google.control("DELETE", "faults")
    assert "UNAVAILABLE" in text


def test_nobody_answers(google: Google) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as listener:  # nobody's afterwards
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        options = {"endpoint": url, "request_timeout": 0.2, "request_retries": 0}
        assert "did not answer within 0.2 s" in message(google, "gcp_secret_info", **options)
    assert "cannot be reached" in message(google, "gcp_secret_info", **options)


def test_a_secret_that_ends_in_a_newline_is_warned_of(
    google: Google, capfd: pytest.CaptureFixture[str]
) -> None:
    result = google.run("gcp_secret", name="newline", value="x\n")
    # Ansible shows a warning at once where its controller's code is loaded, as in its workers.
    shown = capfd.readouterr().err.replace("\n", " ")
    assert "ends in a newline" in json.dumps(result.get("warnings")) + shown


def test_aliases_of_versions_that_do_not_exist(google: Google) -> None:
    text = message(google, "gcp_secret", name="alias", value=VALUE, aliases={"old": "7"})
    assert "old names version 7" in text
    text = message(google, "gcp_secret", name="alias", value=VALUE, aliases={"old": "first"})
    assert "old names version first" in text


def test_a_misspelt_field_is_refused_by_googles_description(google: Google) -> None:
    """The way of every request of the modules goes through the check."""
    text = message(
        google, "gke_cluster", name="typo", location="europe-west1", cluster={"netwrokConfig": {}}
    )
    assert "Unknown name \"netwrokConfig\" at 'cluster'" in text


def test_options_come_from_the_environment(google: Google, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in google.options().items():
        monkeypatch.setenv(f"GCP_{name.upper()}", value)
    monkeypatch.delenv("GCP_ENDPOINT")
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER", google.url)
    assert "secrets" in run_module("gcp_secret_info", {})
