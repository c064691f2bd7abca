"""Runs of every Google module that changes something, with all its options, and what they leave."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from support.google import Google

from streamops_sandbox.google.app import PROJECT

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
            kubernetes_version="1.34",
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
            kubernetes_version="1.36",
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
