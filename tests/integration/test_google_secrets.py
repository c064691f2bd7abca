"""gcp_secret against the stand-in: what it sends, what it says, what it never shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core import exceptions
from support.google import Google, google_sandbox, run_module
from support.google_clients import key, secrets_as

from streamops_sandbox.google.app import PROJECT

VALUE = "correct-horse-battery"
PARENT = f"projects/{PROJECT}/secrets"


@pytest.fixture
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    with google_sandbox(tmp_path_factory.mktemp("google")) as running:
        yield running


def states(google: Google, name: str) -> dict[int, str]:
    """State by version, as Google's own client sees it."""
    versions = secrets_as(google, key(google)).list_secret_versions(parent=f"{PARENT}/{name}")
    return {int(v.name.rpartition("/")[2]): v.state.name for v in versions}


def stored(google: Google, name: str) -> bytes:
    """The latest value."""
    client = secrets_as(google, key(google))
    data: bytes = client.access_secret_version(name=f"{PARENT}/{name}/versions/latest").payload.data
    return data


def test_a_value_is_stored_once(google: Google) -> None:
    first = google.run("gcp_secret", name="a", value=VALUE)
    assert first["changes"] == ["create secret a", "add version 1 to secret a"]
    assert stored(google, "a") == VALUE.encode()
    assert google.run("gcp_secret", name="a", value=VALUE)["changed"] is False
    assert states(google, "a") == {1: "ENABLED"}


def test_check_mode_says_what_the_run_then_does(google: Google) -> None:
    options = {"name": "a", "value": VALUE, "labels": {"app": "x"}, "accessors": ["user:ada@x.org"]}
    predicted = google.run("gcp_secret", **options, _ansible_check_mode=True, _ansible_diff=True)
    assert predicted["changed"] is True
    assert google.run("gcp_secret_info")["secrets"] == [], "check mode wrote something"
    done = google.run("gcp_secret", **options, _ansible_diff=True)
    assert done["changes"] == predicted["changes"]
    assert done["diff"] == predicted["diff"]


@pytest.mark.parametrize(
    "options",
    [
        {"value": VALUE},
        {"value": VALUE, "_ansible_check_mode": True},
        {"value": VALUE, "_ansible_diff": True},
        {"value_base64": "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5"},
        {"value": VALUE, "replication_locations": ["nowhere at all"], "topics": ["bad"]},
    ],
)
def test_no_value_is_in_any_result(google: Google, options: dict[str, Any]) -> None:
    google.run("gcp_secret", name="changed", value="before")
    for name in ("created", "changed"):
        text = json.dumps(google.run("gcp_secret", name=name, **options))
        assert VALUE not in text
        assert "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5" not in text


def test_many_secrets_are_one_task_with_few_requests(google: Google) -> None:
    names = [f"key-{n}" for n in range(4)]
    options = {
        "secrets": [{"name": name, "value": f"{VALUE}-{name}"} for name in names],
        "workload_identities": [{"namespace": "streamops", "service_account": "producer"}],
        "old_versions": "disable",
    }
    assert google.run("gcp_secret", **options)["changed"] is True
    google.calls()
    assert google.run("gcp_secret", **options)["changed"] is False
    assert len(google.calls()) == 9, "a list, and per secret its value and its policy"


def test_rotation_disables_the_old_version_after_the_grace_period(google: Google) -> None:
    options = {"name": "a", "old_versions": "disable", "grace_period": 3600}
    google.run("gcp_secret", **options, value="one")
    rotated = google.run("gcp_secret", **options, value="two")
    assert rotated["changes"] == ["add version 2 to secret a"]
    assert 3590 < rotated["secrets"][0]["retires_in"] <= 3600
    assert states(google, "a") == {1: "ENABLED", 2: "ENABLED"}

    options["grace_period"] = 0
    retired = google.run("gcp_secret", **options, value="two")
    assert retired["changes"] == ["disable version 1 of secret a"]
    assert states(google, "a") == {1: "DISABLED", 2: "ENABLED"}
    assert google.run("gcp_secret", **options, value="two")["changed"] is False


def test_versions_to_keep_and_those_with_an_alias_stay(google: Google) -> None:
    for value in ("one", "two", "three", "four"):
        google.run("gcp_secret", name="a", value=value)
    result = google.run(
        "gcp_secret", name="a", old_versions="destroy", keep_versions=2, aliases={"first": "1"}
    )
    assert result["secrets"][0]["retired"] == [2]
    assert states(google, "a") == {1: "ENABLED", 2: "DESTROYED", 3: "ENABLED", 4: "ENABLED"}


def test_the_newest_version_that_can_be_read_stays(google: Google) -> None:
    """Somebody took a bad one out of use: what is left is not retired behind it."""
    for value in ("one", "two", "bad"):
        google.run("gcp_secret", name="a", value=value)
    google.run("gcp_secret", name="a", version="3", version_state="disabled")
    result = google.run("gcp_secret", name="a", old_versions="disable")
    assert result["secrets"][0]["retired"] == [1]
    assert states(google, "a") == {1: "DISABLED", 2: "ENABLED", 3: "DISABLED"}


@pytest.mark.parametrize("state", ["disabled", "destroyed"])
def test_a_latest_version_out_of_use_is_replaced(google: Google, state: str) -> None:
    google.run("gcp_secret", name="a", value=VALUE)
    google.run("gcp_secret", name="a", version="1", version_state=state)
    result = google.run("gcp_secret", name="a", value=VALUE)
    assert result["changes"] == ["add version 2 to secret a"]
    assert stored(google, "a") == VALUE.encode()


def test_single_versions(google: Google) -> None:
    google.run("gcp_secret", name="a", value=VALUE)
    options = {"name": "a", "version": "1"}
    assert google.run("gcp_secret", **options, version_state="enabled")["changed"] is False
    assert google.run("gcp_secret", **options, version_state="disabled")["changed"] is True
    assert google.run("gcp_secret", **options, version_state="destroyed")["changed"] is True
    assert states(google, "a") == {1: "DESTROYED"}
    failed = google.run("gcp_secret", **options, version_state="enabled")
    assert "cannot come back" in failed["msg"]


def test_absent_deletes_the_secret_and_only_when_asked(google: Google) -> None:
    google.run("gcp_secret", name="a", value=VALUE)
    google.run("gcp_secret", name="a", version="1", version_state="destroyed")
    assert states(google, "a") == {1: "DESTROYED"}, "no enabled version is left, yet it stays"
    assert google.run("gcp_secret", name="a", state="absent")["changes"] == ["delete secret a"]
    assert google.run("gcp_secret", name="a", state="absent")["changed"] is False


def test_settings(google: Google) -> None:
    topic = f"projects/{PROJECT}/topics/rotation"
    options = {
        "name": "a",
        "value": VALUE,
        "labels": {"app": "x"},
        "annotations": {"owner": "streaming"},
        "topics": [topic],
        "rotation": {"next_time": "2030-01-01T00:00:00Z", "period": 86400},
        "aliases": {"current": "latest"},
        "replication_locations": ["europe-west1", "europe-west4"],
    }
    assert google.run("gcp_secret", **options)["changed"] is True
    assert google.run("gcp_secret", **options)["changed"] is False
    (info,) = google.run("gcp_secret_info", name="a")["secrets"]
    assert info["labels"] == {"app": "x"}
    assert info["topics"] == [{"name": topic}]
    assert info["versionAliases"] == {"current": "1"}
    assert [v["state"] for v in info["versions"]] == ["ENABLED"]

    more = google.run("gcp_secret", name="a", labels={"team": "y"}, _ansible_diff=True)
    assert more["changes"] == ["change labels of secret a"]
    assert "app: x" in more["diff"]["after"], "labels of others stay"
    google.run("gcp_secret", name="a", labels={"team": "y"}, purge_labels=True)
    assert google.run("gcp_secret_info", name="a")["secrets"][0]["labels"] == {"team": "y"}

    refused = google.run("gcp_secret", name="a", replication_locations=["us-east1"])
    assert "cannot be changed" in refused["msg"]


def test_google_moves_the_next_rotation_on(google: Google) -> None:
    topics = [f"projects/{PROJECT}/topics/rotation"]
    past = {"next_time": "2020-01-01T00:00:00Z", "period": 86400}
    refused = google.run("gcp_secret", name="a", topics=topics, rotation=past)
    assert "has to be a time to come" in refused["msg"]
    assert "is missing" in google.run("gcp_secret", name="a", rotation={"period": 3600})["msg"]

    first = {"next_time": "2030-01-01T00:00:00Z", "period": 86400}
    assert google.run("gcp_secret", name="a", topics=topics, rotation=first)["changed"] is True
    # years later, the option says what it always said
    assert google.run("gcp_secret", name="a", topics=topics, rotation=past)["changed"] is False
    changed = {"name": "a", "topics": topics, "rotation": {**past, "period": 7200}}
    assert google.run("gcp_secret", **changed)["changes"] == ["change rotation of secret a"]
    (info,) = google.run("gcp_secret_info", name="a")["secrets"]
    assert info["rotation"] == {
        "nextRotationTime": "2030-01-01T00:00:00Z",
        "rotationPeriod": "7200s",
    }
    google.run("gcp_secret", name="a", rotation={})
    once = {"next_time": "2020-01-01T00:00:00Z"}
    assert google.run("gcp_secret", name="a", rotation=once)["changed"] is False, "it was sent"


def test_grants_leave_others_alone_unless_told(google: Google) -> None:
    google.run("gcp_secret", name="a", value=VALUE, accessors=["user:ada@example.com"])
    client = secrets_as(google, key(google))
    policy = client.get_iam_policy(request={"resource": f"{PARENT}/a"})
    policy.bindings.add(role="roles/secretmanager.viewer", members=["user:bob@example.com"])
    client.set_iam_policy(request={"resource": f"{PARENT}/a", "policy": policy})

    added = google.run("gcp_secret", name="a", accessors=["user:eve@example.com"])
    assert added["secrets"][0]["accessors"] == ["user:ada@example.com", "user:eve@example.com"]
    options = {"accessors": ["user:eve@example.com"], "purge_accessors": True}
    purged = google.run("gcp_secret", name="a", **options)
    assert purged["changes"] == ["revoke user:ada@example.com on secret a"]
    assert google.run("gcp_secret", name="a", **options)["changed"] is False
    roles = {
        b.role: list(b.members)
        for b in client.get_iam_policy(request={"resource": f"{PARENT}/a"}).bindings
    }
    assert roles["roles/secretmanager.viewer"] == ["user:bob@example.com"]


def test_a_policy_that_somebody_else_changes_meanwhile(google: Google) -> None:
    google.run("gcp_secret", name="a", value=VALUE)
    fault = {
        "method": "secretmanager.projects.secrets.setIamPolicy",
        "status": "ABORTED",
        "message": "There were concurrent policy changes.",
        "times": 2,
    }
    google.control("POST", "faults", fault)
    result = google.run("gcp_secret", name="a", accessors=["user:ada@example.com"])
    assert result["changed"] is True
    reads = [m for m in google.calls() if m.endswith("getIamPolicy")]
    assert len(reads) == 3, "read again before each attempt to write"


def test_a_half_done_run_is_finished_by_the_next(google: Google) -> None:
    fault = {
        "method": "secretmanager.projects.secrets.addVersion",
        "status": "PERMISSION_DENIED",
        "message": "Denied.",
    }
    google.control("POST", "faults", fault)
    failed = google.run("gcp_secret", name="a", value=VALUE)
    assert failed["failed"] is True
    assert failed["changes"] == ["create secret a"], "what was done is said"
    with pytest.raises(exceptions.NotFound, match="no versions"):
        stored(google, "a")
    assert google.run("gcp_secret", name="a", value=VALUE)["changes"] == [
        "add version 1 to secret a"
    ]


def test_a_caller_that_may_not_list(google: Google) -> None:
    """Rights on single secrets are enough."""
    member = "serviceAccount:narrow@sandbox-project.iam.gserviceaccount.com"
    narrow = google.control("POST", "principals", {"member": member, "project": PROJECT})
    for name in ("a", "b"):
        google.run("gcp_secret", name=name, value=VALUE)
        google.run("gcp_iam_member", secret=name, role="roles/secretmanager.admin", member=member)
    options = {**google.options(), "service_account_contents": narrow}
    del options["service_account_file"]
    secrets = [{"name": name, "value": VALUE} for name in ("a", "b")]
    result = run_module("gcp_secret", {**options, "secrets": secrets})
    assert result.get("failed") is None, result
    assert result["changed"] is False
