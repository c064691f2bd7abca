"""What check mode says is what the run then does, and what is left half done the next run finishes.

One table of runs, with every option that changes something, for every module that can.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from support.google import MODULES, Google, google_sandbox

from ansible_collections.streamops.knative.plugins.module_utils._module.task import Run, Task
from streamops_sandbox.google import ACCOUNT, PROJECT

LOCATION = "europe-west1"
EMAIL = f"pipeline@{PROJECT}.iam.gserviceaccount.com"
ADA, BOB = "user:ada@example.com", "group:bob@example.com"
SOON = {"title": "soon", "expression": 'request.time < timestamp("2999-01-01T00:00:00Z")'}
WINDOW = {
    "start": "2030-01-05T01:00:00+01:00",
    "end": "2030-01-05T07:00:00+01:00",
    "recurrence": "FREQ=WEEKLY;BYDAY=SA",
}
Options = dict[str, Any]
Step = tuple[str, Options]


@dataclass(frozen=True)
class Case:
    """A run, and the runs before it."""

    module: str
    options: Options
    before: tuple[Step, ...] = field(default=())


def gke(name: str = "c", **options: Any) -> Options:
    return {"name": name, "location": LOCATION, **options}


def repository(**options: Any) -> Options:
    return {"name": "images", "location": LOCATION, **options}


STANDARD = gke(location=f"{LOCATION}-b", autopilot=False, node_pool={"min_nodes": 0})
ACCOUNT_MADE: Step = ("gcp_service_account", {"name": "pipeline"})
SECRET: Step = (
    "gcp_secret",
    {"name": "s", "value": "one", "labels": {"a": "b"}, "accessors": [ADA]},
)
ROTATED: tuple[Step, ...] = (SECRET, ("gcp_secret", {"name": "s", "value": "two"}))
CASES = {
    "services": Case("gcp_services", {"services": ["pubsub.googleapis.com", "dns.googleapis.com"]}),
    "services-off": Case(
        # one needs the other
        "gcp_services",
        {"services": ["compute.googleapis.com", "container.googleapis.com"], "state": "absent"},
        (("gcp_services", {"services": ["container.googleapis.com"]}),),
    ),
    "account": Case(
        "gcp_service_account",
        {"name": "pipeline", "display_name": "P", "description": "d", "disabled": True},
    ),
    "account-changed": Case(
        "gcp_service_account",
        {"name": "pipeline", "display_name": "Q", "description": "", "disabled": True},
        (ACCOUNT_MADE,),
    ),
    "account-gone": Case(
        "gcp_service_account", {"name": "pipeline", "state": "absent"}, (ACCOUNT_MADE,)
    ),
    "grant-project": Case(
        "gcp_iam_member",
        {
            "roles": ["roles/container.viewer", "roles/browser"],
            "members": [ADA.replace("ada", "Ada"), BOB],
            "condition": SOON,
        },
    ),
    "grant-secret": Case(
        "gcp_iam_member",
        {
            "secret": "s",
            "role": "roles/secretmanager.viewer",
            "workload_identities": [{"namespace": "n", "service_account": "k"}],
        },
        (SECRET,),
    ),
    "grant-account": Case(
        "gcp_iam_member",
        {"service_account": EMAIL, "role": "roles/iam.workloadIdentityUser", "member": ADA},
        (ACCOUNT_MADE,),
    ),
    "revoke-repository": Case(
        "gcp_iam_member",
        {
            "repository": "images",
            "location": LOCATION,
            "role": "roles/artifactregistry.reader",
            "member": ADA,
            "state": "absent",
        },
        (("artifact_repository", repository(readers=[ADA, BOB])),),
    ),
    "repository": Case(
        "artifact_repository",
        repository(
            description="d",
            labels={"a": "b"},
            immutable_tags=True,
            readers=[ADA],
            writers=[ADA, BOB],
            kms_key=f"projects/{PROJECT}/locations/{LOCATION}/keyRings/r/cryptoKeys/k",
        ),
    ),
    "repository-changed": Case(
        "artifact_repository",
        repository(
            description="e",
            labels={"c": "d"},
            purge_labels=True,
            immutable_tags=False,
            writers=[BOB],
        ),
        (
            (
                "artifact_repository",
                repository(description="d", labels={"a": "b"}, immutable_tags=True, writers=[ADA]),
            ),
        ),
    ),
    "repository-gone": Case(
        "artifact_repository", repository(state="absent"), (("artifact_repository", repository()),)
    ),
    "secret": Case(
        "gcp_secret",
        {
            "name": "s",
            "value_base64": "b25l",
            "labels": {"a": "b"},
            "annotations": {"c": "d"},
            "topics": [f"projects/{PROJECT}/topics/t"],
            "rotation": {"next_time": "2999-01-01T01:00:00+01:00", "period": 86400},
            "replication_locations": ["europe-west1", "europe-west4"],
            "aliases": {"current": "latest"},
            "accessors": [ADA],
            "workload_identities": [{"namespace": "n", "service_account": "k"}],
        },
    ),
    "secret-changed": Case(
        "gcp_secret",
        {
            "name": "s",
            "value": "three",
            "labels": {"c": "d"},
            "annotations": {},
            "purge_labels": True,
            "aliases": {"current": "latest", "before": "2"},
            "accessors": [BOB],
            "purge_accessors": True,
            "old_versions": "disable",
        },
        ROTATED,
    ),
    "secret-without-rotation": Case(
        "gcp_secret",
        {"name": "s", "rotation": {}, "topics": [], "aliases": {}, "old_versions": "destroy"},
        (
            (
                "gcp_secret",
                {
                    "name": "s",
                    "value": "one",
                    "topics": [f"projects/{PROJECT}/topics/t"],
                    "rotation": {"next_time": "2999-01-01T00:00:00Z"},
                    "aliases": {"first": "1"},
                },
            ),
            ("gcp_secret", {"name": "s", "value": "two"}),
        ),
    ),
    "secrets": Case(
        "gcp_secret",
        {"secrets": [{"name": "s", "value": "two"}, {"name": "t", "value": "two"}]},
        (SECRET,),
    ),
    "version": Case(
        "gcp_secret", {"name": "s", "version": "1", "version_state": "destroyed"}, (SECRET,)
    ),
    "secret-gone": Case("gcp_secret", {"name": "s", "state": "absent"}, (SECRET,)),
    "cluster": Case(
        "gke_cluster",
        gke(
            description="d",
            release_channel="STABLE",
            network="default",
            subnetwork="default",
            pods_range="pods",
            services_range="services",
            private_nodes=True,
            authorized_networks=[{"cidr": "203.0.113.0/24", "name": "office"}],
            dns_endpoint=True,
            secret_manager_addon=True,
            labels={"a": "b"},
            maintenance_window=WINDOW,
            cluster={"addonsConfig": {"gcsFuseCsiDriverConfig": {"enabled": True}}},
        ),
    ),
    "cluster-changed": Case(
        "gke_cluster",
        gke(
            release_channel="RAPID",
            authorized_networks=[],
            labels={"c": "d"},
            purge_labels=True,
            maintenance_window=WINDOW,
            cluster={"addonsConfig": {"dnsCacheConfig": {"enabled": True}}},
        ),
        (
            (
                "gke_cluster",
                gke(
                    labels={"a": "b"},
                    authorized_networks=[{"cidr": "203.0.113.0/24"}],
                    cluster={"addonsConfig": {"gcsFuseCsiDriverConfig": {"enabled": True}}},
                ),
            ),
        ),
    ),
    "standard": Case("gke_cluster", STANDARD),
    "standard-changed": Case(
        "gke_cluster",
        {**STANDARD, "node_pool": {"machine_type": "e2-standard-8", "max_nodes": 9}},
        (("gke_cluster", STANDARD),),
    ),
    "second-pool": Case(
        "gke_cluster",
        {**STANDARD, "node_pool": {"name": "more", "spot": True, "service_account": EMAIL}},
        (("gke_cluster", STANDARD),),
    ),
    "cluster-gone": Case(
        "gke_cluster",
        gke(state="absent", deletion_protection=False),
        (("gke_cluster", gke()),),
    ),
}
#: Fields that tell when, not what, and those of an API server of its own.
_MOMENTARY = {
    "clientSpecifiedPayloadChecksum",
    "createTime",
    "destroyTime",
    "endpoint",
    "etag",
    "id",
    "labelFingerprint",
    "masterAuth",
    "publicEndpoint",
    "resourceVersion",
    "selfLink",
    "uniqueId",
    "oauth2ClientId",
    "updateTime",
}


@pytest.fixture
def google(tmp_path: Path) -> Iterator[Google]:
    with google_sandbox(tmp_path / "google") as running:
        yield running


def everything(google: Google) -> dict[str, Any]:
    """All that the stand-in holds, as its owner reads it."""
    token, project = google.owner_token, f"projects/{PROJECT}"

    def get(path: str, method: str = "GET") -> dict[str, Any]:
        return google.call(method, path, token=token)[1]

    secrets = get(f"v1/{project}/secrets").get("secrets", [])
    accounts = get(f"v1/{project}/serviceAccounts")["accounts"]
    location = f"v1/{project}/locations/{LOCATION}"
    repositories = get(f"{location}/repositories").get("repositories", [])
    version = "options.requestedPolicyVersion=3"
    return {
        "services": [
            s["config"]["name"]
            for s in get(f"v1/{project}/services?filter=state:ENABLED")["services"]
        ],
        "project": get(f"v3/{project}:getIamPolicy", "POST"),
        "secrets": [
            (s, get(f"v1/{s['name']}/versions"), get(f"v1/{s['name']}:getIamPolicy?{version}"))
            for s in secrets
        ],
        "accounts": [(a, get(f"v1/{a['name']}:getIamPolicy?{version}", "POST")) for a in accounts],
        "repositories": [(r, get(f"v1/{r['name']}:getIamPolicy?{version}")) for r in repositories],
        "clusters": get(f"v1/{project}/locations/-/clusters"),
    }


def lasting(value: Any) -> Any:
    """What is the same when it is done anew."""
    if isinstance(value, dict):
        return {k: lasting(v) for k, v in value.items() if k not in _MOMENTARY}
    if isinstance(value, list | tuple):
        return [lasting(item) for item in value]
    return value


def done(google: Google, module: str, options: Options) -> dict[str, Any]:
    """A run that has to succeed."""
    result = google.run_quickly(module, **options, _ansible_diff=True)
    assert not result.get("failed"), result
    return result


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_check_mode_says_what_the_run_then_does(google: Google, case: Case) -> None:
    for module, options in case.before:
        done(google, module, options)
    before = everything(google)
    predicted = google.run_quickly(
        case.module, **case.options, _ansible_check_mode=True, _ansible_diff=True
    )
    assert everything(google) == before, "check mode changed something"
    assert predicted["changed"] is True, predicted
    result = done(google, case.module, case.options)
    assert (result["changes"], result["diff"]) == (predicted["changes"], predicted["diff"])
    after = everything(google)
    assert after != before
    for again in (True, False):
        same = google.run_quickly(case.module, **case.options, _ansible_check_mode=again)
        assert (same["changed"], same["changes"]) == (False, []), same
    assert everything(google) == after, "a run that said it changed nothing did"


def writes(google: Google) -> list[str]:
    """The methods that a run called to change something, each once, in order."""
    reads = ("get", "list", "access", "batchGet", "getIamPolicy")
    called = [m for m in google.calls() if m.rpartition(".")[2] not in reads]
    return list(dict.fromkeys(called))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_left_half_done_is_finished_by_the_next_run(
    google: Google, case: Case, tmp_path: Path
) -> None:
    """Each write fails in turn before it is carried out, and once more with the answer lost."""
    for module, options in case.before:
        done(google, module, options)
    google.calls()
    done(google, case.module, case.options)
    methods, wanted = writes(google), lasting(everything(google))
    assert methods
    with google_sandbox(tmp_path / "other") as other:
        for module, options in case.before:
            done(other, module, options)
        for fault in ({"method": m, "carriedOut": c} for m in methods for c in (False, True)):
            other.control(
                "POST", "faults", {**fault, "status": "INTERNAL", "message": "Broken off."}
            )
            broken = other.run_quickly(case.module, **case.options, request_retries=0)
            if broken.get("failed"):
                assert "Broken off." in broken["msg"], broken
                assert broken["changed"] is bool(broken["changes"])
            other.control("DELETE", "faults")
        done(other, case.module, case.options)
        assert lasting(everything(other)) == wanted
        assert other.run_quickly(case.module, **case.options)["changed"] is False


def work(google: Google, module: str, options: Options) -> dict[str, Any]:
    """Run a module's task on a thread, as a worker of Ansible does in its process."""
    task: Task = importlib.import_module(f"{MODULES}.{module}").TASK
    validator = ArgumentSpecValidator(task.options, **task.constraints)
    validated = validator.validate({**google.options(), **options})
    assert not validated.error_messages
    params = validated.validated_parameters
    return task.work(Run(params))


def test_several_hosts_do_the_same_at_once(google: Google) -> None:
    """A fleet's hosts share a project: whoever comes second finds it done, or adds to it."""
    hosts = [f"user:host{number}@example.com" for number in range(6)]
    failures: list[BaseException] = []

    def run(member: str) -> None:
        number = hosts.index(member)
        for module, options in (
            ("gcp_services", {"services": ["pubsub.googleapis.com"]}),
            ("artifact_repository", repository(readers=[member], labels={"a": "b"})),
            ("gcp_service_account", {"name": "pipeline", "display_name": "Pipeline"}),
            ("gcp_secret", {"name": "s", "labels": {f"h{number}": "x"}, "accessors": [member]}),
            ("gcp_iam_member", {"secret": "s", "role": "roles/viewer", "member": member}),
        ):
            try:
                work(google, module, {**options, "request_retries": 12})
            except BaseException as error:
                failures.append(error)
                raise

    threads = [threading.Thread(target=run, args=(member,)) for member in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = everything(google)
    ((secret, _versions, policy),) = found["secrets"]
    assert sorted(secret["labels"]) == [f"h{number}" for number in range(6)]
    assert sorted(b["members"] for b in policy["bindings"]) == [hosts, hosts]
    ((_repository, images),) = found["repositories"]
    assert images["bindings"][0]["members"] == hosts
    assert len(found["accounts"]) == 2, f"the pipeline's, beside {ACCOUNT}"


def test_lists_of_several_pages(google: Google) -> None:
    google.control("PUT", "pages", {"size": 2})
    names = [f"s{number}" for number in range(5)]
    secrets = [{"name": name, "value": "x"} for name in names]
    assert google.run_quickly("gcp_secret", secrets=secrets)["changed"] is True
    assert google.run_quickly("gcp_secret", secrets=secrets)["changed"] is False
    for value in ("y", "z", "last"):
        done(google, "gcp_secret", {"name": "s0", "value": value})
    options = {"name": "s0", "old_versions": "disable", "aliases": {"first": "1"}}
    assert done(google, "gcp_secret", options)["secrets"][0]["retired"] == [3, 2]
    found = google.run_quickly("gcp_secret_info")["secrets"]
    assert sorted(secret["id"] for secret in found) == names
    assert len(next(s for s in found if s["id"] == "s0")["versions"]) == 4
    for number in range(3):
        done(google, "artifact_repository", {**repository(), "name": f"r{number}"})
    listed = google.run_quickly("artifact_repository_info", location=LOCATION)["repositories"]
    assert len(listed) == 3
    for number in range(3):
        done(google, "gcp_service_account", {"name": f"account-{number}"})
    assert len(google.run_quickly("gcp_service_account_info")["service_accounts"]) == 4
    enabled = google.run_quickly("gcp_services_info")["services"]
    assert len(enabled) >= 5, "pages of services, too"
